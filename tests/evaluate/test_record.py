"""A generator that remembers."""

import pytest

from ocijax.evaluate.record import RecordedGenerator
from ocijax.evaluate.store import RowLog
from ocijax.refine.loop import begin
from ocijax.sample.settings import SamplingSettings
from tests.refine.conftest import Answers, make_task

SETTINGS = SamplingSettings(temperature=0.5)
CONVERSATIONS = [begin(make_task(number)).conversation for number in (1, 2)]


@pytest.fixture
def log(tmp_path):
    return RowLog(tmp_path / "answers.jsonl")


def test_a_call_is_answered_once(log):
    generator = Answers(lambda one: f"answer to {one.id}\udc80")
    recorded = RecordedGenerator(generator, log)
    first = recorded.generate(CONVERSATIONS, SETTINGS)
    assert recorded.generate(CONVERSATIONS, SETTINGS) == first
    assert RecordedGenerator(generator, log).generate(CONVERSATIONS, SETTINGS) == first
    assert first == generator.generate(CONVERSATIONS, SETTINGS)
    assert len(generator.calls) == 2


@pytest.mark.parametrize(
    ("conversations", "settings"),
    [
        (CONVERSATIONS[:1], SETTINGS),
        (CONVERSATIONS[::-1], SETTINGS),
        ([CONVERSATIONS[0], CONVERSATIONS[1].append("assistant", "")], SETTINGS),
        (CONVERSATIONS, SamplingSettings(temperature=0.5, seed=1)),
    ],
)
def test_another_call_is_answered_anew(log, conversations, settings):
    generator = Answers(lambda one: "answer")
    recorded = RecordedGenerator(generator, log)
    recorded.generate(CONVERSATIONS, SETTINGS)
    recorded.generate(conversations, settings)
    assert len(generator.calls) == 2
