"""What each protocol shows the model."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.errors import InputError
from ocijax.evaluate.protocols import (
    PROTOCOLS,
    ask_afresh,
    ask_again,
    check_protocol,
    show_feedback_of_another,
)
from ocijax.prompts.prompts import load_prompts
from ocijax.refine.attempt import Attempt
from ocijax.refine.loop import Trajectory, begin
from tests.refine.conftest import answer, make_task

UNINFORMED = "Execution result:\nThe program failed without saying why."


def failed(number: int, sample: int = 0) -> Trajectory:
    """A trajectory after one wrong answer, whose feedback names task and sample."""
    start = begin(make_task(number), sample)
    attempt = Attempt(answer(0), "", False, f"feedback {number} {sample}", 1, "stop")
    conversation = start.conversation.append("assistant", attempt.reply)
    return replace(start, conversation=conversation, attempts=(attempt,))


def shown_to(unfinished: list[Trajectory], seed: int = 0) -> list[str]:
    return show_feedback_of_another(unfinished, random.Random(seed))


@given(st.integers(2, 40), st.integers(0, 1000))
def test_scrambled_shows_every_feedback_once_and_none_to_its_own_task(count, seed):
    unfinished = [failed(number) for number in range(count)]
    shown = shown_to(unfinished, seed)
    own = [one.attempts[-1].feedback for one in unfinished]
    assert sorted(shown) == sorted(own)
    assert all(one != other for one, other in zip(shown, own, strict=True))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True, min_size=1))
def test_scrambled_shows_no_sample_the_feedback_of_its_own_task(samples):
    unfinished = [failed(number, sample) for number, sample in samples]
    shown = shown_to(unfinished)
    most = max(Counter(number for number, _ in samples).values())
    for (number, _), feedback in zip(samples, shown, strict=True):
        assert not feedback.startswith(f"feedback {number} ")
        # A task with less than half of the samples has others enough.
        assert feedback != UNINFORMED or 2 * most > len(samples)


def test_scrambled_is_drawn_by_its_seed():
    unfinished = [failed(number) for number in range(20)]
    assert shown_to(unfinished, 1) == shown_to(unfinished, 1)
    assert shown_to(unfinished, 1) != shown_to(unfinished, 2)


def test_scrambled_tells_the_only_unfinished_task_nothing():
    assert shown_to([failed(1)]) == [UNINFORMED]


def test_scrambled_tells_nothing_in_the_words_of_the_prompts():
    ask = ask_again("scrambled", load_prompts("paper")).ask
    assert ask([failed(1)], random.Random(0)) == ["Execution result:\nThe program failed."]


def test_resample_asks_as_if_nothing_had_been():
    unfinished = [failed(1), failed(2)]
    assert ask_afresh(unfinished, random.Random(0)) == [None, None]


def test_an_unknown_protocol_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="'oracle' is unknown; there are single, execution"):
        check_protocol("oracle", 2, 0.0)


def test_resampling_needs_chance():
    with pytest.raises(InputError, match="give a --temperature"):
        check_protocol("resample", 2, 0.0)
    check_protocol("resample", 1, 0.0)


def test_resampling_until_tokens_are_spent_needs_chance_whatever_the_rounds():
    with pytest.raises(InputError, match="give a --temperature"):
        check_protocol("resample_tokens", 1, 0.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_has_a_first_answer_at_least(protocol):
    with pytest.raises(InputError, match="rounds=0"):
        check_protocol(protocol, 0, 1.0)
    check_protocol(protocol, 1, 1.0)
