"""Drafts come from where the conversation said the same, and change nothing but the speed."""

import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.sample.lookup import look_up
from ocijax.sample.pace import Pace
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2
from tests.sample.conftest import COMPUTE, CONFIG, RAGGED, Bytes, conversation, writer


@pytest.fixture
def always(monkeypatch):
    """Has drafts read in every forward."""
    monkeypatch.setattr(Pace, "choose", lambda pace: pace._draft_tokens)


@pytest.mark.parametrize(
    ("said", "draft"),
    [
        ([1, 2, 3, 4, 5, 9, 1, 2, 3], [4, 5, 9]),
        ([7, 2, 3, 4, 0, 1, 2, 3, 6, 8, 1, 2, 3], [6, 8, 1]),  # of two such places the later one
        ([1, 2, 3, 4, 0, 7, 2, 3, 6, 8, 1, 2, 3], [4, 0, 7]),  # of two the one more alike
        ([1, 2, 3, 4], [-1, -1, -1]),
        ([5, 3, 4, 1, 9, 3], [-1, -1, -1]),  # one token in common is too little
        ([8, 6, 7, 6, 7], [6, 7, 6]),  # what runs into the present repeats itself
        ([6, 6, 6], [6, 6, 6]),
        ([6], [-1, -1, -1]),
    ],
)
def test_what_followed_where_the_same_was_said_is_expected_again(said, draft):
    history = np.full((2, 16), 3, np.int32)  # what stands behind is not looked at
    history[1, : len(said)] = said
    found = look_up(jnp.asarray(history), jnp.array([0, len(said) - 1]), 3)
    assert found[1].tolist() == draft


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(max_new_tokens=40),
        SamplingSettings(max_new_tokens=40, temperature=0.7, top_p=0.9, seed=3),
    ],
)
def test_answers_are_the_same_with_drafts_and_without(always, parameters, tokenizer, settings):
    plain = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    drafting = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4, draft_tokens=5
    )
    assert drafting.generate(RAGGED, settings) == plain.generate(RAGGED, settings)
    assert plain.forwards >= plain.generated_tokens
    if not settings.temperature:  # greedy answers of such a model go in circles
        assert drafting.forwards < 0.8 * drafting.generated_tokens


@pytest.mark.parametrize("stop", [(), ("ju",), ("n f",)])
@pytest.mark.parametrize("limit", [40, 11])
def test_an_answer_ends_where_it_ends_without(always, stop, limit):
    text = "The quick brown fox jumps"
    settings = SamplingSettings(max_new_tokens=limit, stop=stop)
    model = {"compute": COMPUTE, "slots": 4}
    letters = "".join(dict.fromkeys(text))
    said = [Conversation("said", (Message("user", f"Say {letters} to me"),))]
    plain = Sampler(CONFIG, writer(letters), Bytes(), LLAMA2, **model)
    drafting = Sampler(CONFIG, writer(letters), Bytes(), LLAMA2, **model, draft_tokens=5)
    assert drafting.generate(said, settings) == plain.generate(said, settings)
    assert drafting.forwards < 0.6 * drafting.generated_tokens


def test_a_slot_holds_as_much_with_drafts(always, parameters, tokenizer):
    whole = SamplingSettings(max_new_tokens=10_000)
    [completion] = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4, draft_tokens=5
    ).generate([conversation(1)], whole)
    [plain] = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4).generate(
        [conversation(1)], whole
    )
    assert completion == plain


def test_drafts_are_read_as_long_as_answers_come_faster_so():
    pace = Pace(5)
    for _ in range(8):
        count = pace.choose()
        pace.note(count, tokens=3.0 if count else 1.0, seconds=1.5 if count else 1.0)
    assert pace.choose() == 5
    for _ in range(40):
        count = pace.choose()
        pace.note(count, tokens=1.0, seconds=1.5 if count else 1.0)
    chosen = [pace.choose() for _ in range(100)]
    assert chosen.count(0) >= 95
    assert chosen.count(5) >= 1
    assert Pace(0).choose() == 0


def test_a_turn_that_goes_on_looks_up_what_was_said_in_the_turns_before(always, parameters):
    letters = "abcdefgh"
    drafting = Sampler(
        CONFIG, writer(letters), Bytes(), LLAMA2, compute=COMPUTE, slots=4, draft_tokens=5
    )
    first = Conversation("turns", (Message("user", "go"),))
    [reply] = drafting.generate([first], SamplingSettings(20))
    before = drafting.forwards
    again = first.append("assistant", reply.text).append("user", "go")
    [second] = drafting.generate([again], SamplingSettings(20))
    assert second.text == reply.text == letters
    assert drafting.forwards - before < 0.6 * len(second.tokens)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_five_hundred_answers_are_the_same(always, parameters, tokenizer):
    random = np.random.default_rng(0)
    asked = []
    for index in range(500):
        words = random.integers(0, 40, random.integers(1, 30))
        content = " ".join(f"word{word}" for word in words)
        asked.append(Conversation(f"random {index}", (Message("user", content),)))
    settings = SamplingSettings(max_new_tokens=64)
    plain = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE)
    drafting = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, draft_tokens=5)
    assert drafting.generate(asked, settings) == plain.generate(asked, settings)
