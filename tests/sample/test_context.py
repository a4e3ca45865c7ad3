"""Conversations too long for the context."""

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.sample.context import ContextGenerator, shorten
from ocijax.sample.replay import Replay
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2, tokenize

TURNS = ("Write f.", "first " * 20, "it failed", "second " * 20, "it failed again")
CONVERSATION = Conversation(
    "f",
    tuple(Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(TURNS)),
    "source",
    {"a": 1},
)


def contents(conversation: Conversation) -> tuple[str, ...]:
    return tuple(message.content for message in conversation.messages)


def length(conversation: Conversation, tokenizer) -> int:
    return len(tokenize(conversation, LLAMA2, tokenizer).tokens)


def test_what_fits_stays_whole(tokenizer):
    limit = length(CONVERSATION, tokenizer)
    assert shorten(CONVERSATION, LLAMA2, tokenizer, limit) is CONVERSATION


def test_the_oldest_answer_and_its_feedback_go_first(tokenizer):
    limit = length(CONVERSATION, tokenizer) - 1
    shortened = shorten(CONVERSATION, LLAMA2, tokenizer, limit)
    assert contents(shortened) == (TURNS[0], TURNS[3], TURNS[4])
    assert length(shortened, tokenizer) <= limit
    assert (shortened.id, shortened.source, shortened.metadata) == ("f", "source", {"a": 1})


@pytest.mark.parametrize("limit", [40, 1])
def test_at_the_shortest_only_the_question_is_left(tokenizer, limit):
    assert contents(shorten(CONVERSATION, LLAMA2, tokenizer, limit)) == TURNS[:1]


def test_a_system_turn_stays(tokenizer):
    system = Message("system", "Be brief.")
    whole = Conversation("f", (system, *CONVERSATION.messages))
    assert contents(shorten(whole, LLAMA2, tokenizer, 1)) == ("Be brief.", TURNS[0])


@pytest.mark.parametrize(("longest", "shortened"), [(1, 0), (60, 1), (1000, 1)])
def test_room_is_left_for_the_answer(tokenizer, longest, shortened):
    context = length(CONVERSATION, tokenizer) + 50
    replay = Replay({"f": ["a", "b", "c"]})
    generator = ContextGenerator(replay, LLAMA2, tokenizer, context)
    generator.generate([CONVERSATION], SamplingSettings(max_new_tokens=longest))
    assert generator.shortened == shortened
