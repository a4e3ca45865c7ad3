"""Calls beside each other: of several threads, followed, given up and failing."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2
from tests.sample.conftest import COMPUTE, CONFIG, DRAWN, GREEDY, RAGGED
from tests.sample.full_forward import assert_greedy


class GaveUp(Exception):
    pass


def test_calls_of_several_threads_are_answered_together(parameters, tokenizer):
    shared = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    alone = [shared.generate([one], DRAWN) for one in RAGGED]
    with ThreadPoolExecutor(len(RAGGED)) as threads:
        together = list(threads.map(lambda one: shared.generate([one], DRAWN), RAGGED))
    assert together == alone


def test_what_is_followed_makes_up_the_answers(parameters, tokenizer):
    followed = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=3, decode_steps=2
    )
    texts = [""] * len(RAGGED)
    looks = 0

    def follow(index, text):
        nonlocal looks
        texts[index] += text
        looks += 1

    settings = dataclasses.replace(DRAWN, max_new_tokens=24, stop=("e", "\n"))
    completions = followed.generate(RAGGED, settings, follow)
    assert texts == [one.text for one in completions]
    assert any(texts)
    assert looks > len(RAGGED)
    assert followed.generate(RAGGED, settings) == completions


def test_it_reports_finished_answers(parameters, tokenizer):
    finished = []
    sampler = Sampler(
        CONFIG,
        parameters,
        tokenizer,
        LLAMA2,
        compute=COMPUTE,
        slots=4,
        observe=finished.append,
    )
    sampler.generate(RAGGED, SamplingSettings(max_new_tokens=2))
    assert sum(finished) == len(RAGGED)


@pytest.mark.parametrize("looks", [1, 3, 10])
def test_a_call_that_is_given_up_frees_its_slots_and_changes_no_other(parameters, tokenizer, looks):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4, decode_steps=2
    )
    expected = shared.generate(RAGGED[:3], GREEDY)
    seen = 0

    def give_up(index, text):
        nonlocal seen
        seen += 1
        if seen == looks:
            raise GaveUp

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(shared.generate, RAGGED[:3], GREEDY)
        with pytest.raises(GaveUp):
            shared.generate(RAGGED[3:], GREEDY, give_up)
        assert other.result() == expected
    assert seen == looks
    assert shared.free_slots == shared.slots == 4
    # Who comes next goes on from what the given-up answers left in the slots.
    assert_greedy(parameters, tokenizer, RAGGED, shared.generate(RAGGED, GREEDY))


def test_a_slow_follower_keeps_nobody_waiting(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=2, decode_steps=2
    )
    others_done = threading.Event()

    def wait(index, text):
        assert others_done.wait(60)

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(shared.generate, RAGGED[:1], GREEDY, wait)
        shared.generate(RAGGED[1:], GREEDY)
        others_done.set()
        assert len(slow.result()) == 1


def test_a_short_answer_does_not_wait_for_the_end_of_a_long_one(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=2, decode_steps=1
    )
    looks = []
    begun = threading.Event()

    def follow(index, text):
        looks.append(text)
        begun.set()

    with ThreadPoolExecutor(1) as threads:
        settings = SamplingSettings(max_new_tokens=200)
        long = threads.submit(shared.generate, RAGGED[:1], settings, follow)
        assert begun.wait(60)
        shared.generate(RAGGED[1:2], SamplingSettings(max_new_tokens=1))
        assert not long.done()
        long.result()


def test_an_answer_that_ends_while_its_follower_is_slow_is_told_to_its_end(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8, decode_steps=1
    )
    settings = [dataclasses.replace(DRAWN, max_new_tokens=4, seed=seed) for seed in range(40)]

    def ask(setting):
        told = []
        follow = lambda index, text: (time.sleep(0.02), told.append(text))  # noqa: E731
        [completion] = shared.generate(RAGGED[:1], setting, follow)
        return "".join(told) == completion.text

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, settings))


def test_a_copy_that_fails_takes_no_slot_and_keeps_nobody_waiting(
    monkeypatch, parameters, tokenizer, sampler
):
    fails = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=3)
    first, second = (
        Conversation(end, (Message("user", 40 * "x" + 30 * end),)) for end in ("a", "b")
    )
    fails.generate([first], GREEDY)
    copy, failures = fails.engine.copy, iter([GaveUp])

    def fail_once(*arguments):
        for failure in failures:
            raise failure
        copy(*arguments)

    monkeypatch.setattr(fails.engine, "copy", fail_once)
    with pytest.raises(GaveUp):
        fails.generate([second], GREEDY)
    assert fails.free_slots == fails.slots
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(fails.generate, [second], GREEDY).result(60)
    assert answer == sampler.generate([second], GREEDY)


def test_a_step_that_fails_fails_one_call_and_no_other(monkeypatch, parameters, tokenizer, sampler):
    shared = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8)
    # Of so few tokens, which begin differently, four are read at once: however many of the eight
    # the first step finds, it or the next one reads several.
    asked = [Conversation(text, (Message("user", 3 * text),)) for text in "abcdefgh"]
    expected = [sampler.generate([one], GREEDY) for one in asked]
    begin, check_room = shared.engine.begin, shared.engine.check_room
    came, failures = threading.Barrier(8), iter([GaveUp])

    def come(tokens):
        check_room(tokens)
        came.wait(60)

    def fail_once(slots, hidden, rows, prompts):
        time.sleep(0.5)  # meanwhile all others wait
        for failure in failures if len(prompts) > 1 else ():
            raise failure
        return begin(slots, hidden, rows, prompts)

    def ask(one):
        try:
            return shared.generate([one], GREEDY)
        except GaveUp:
            return None

    monkeypatch.setattr(shared.engine, "begin", fail_once)
    monkeypatch.setattr(shared.engine, "check_room", come)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, asked))
    assert answers.count(None) == 1
    assert all(one in (None, other) for one, other in zip(answers, expected, strict=True))
    assert shared.free_slots == shared.slots
