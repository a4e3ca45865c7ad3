"""Replaying recorded answers."""

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.sample.replay import Replay
from ocijax.sample.settings import SamplingSettings

ASKED = Conversation("task", (Message("user", "write f"),))


def test_each_turn_gets_its_recorded_answer():
    replay = Replay({"task": ["first", "second"]})
    [first] = replay.generate([ASKED], SamplingSettings())
    again = ASKED.append("assistant", first.text).append("user", "it failed")
    [second] = replay.generate([again], SamplingSettings())
    assert (first.text, second.text) == ("first", "second")


def test_a_turn_without_a_record_is_refused_by_name():
    with pytest.raises(InputError, match="conversation task: 0 answers are recorded"):
        Replay({}).generate([ASKED], SamplingSettings())
