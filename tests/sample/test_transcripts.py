"""Answers come back as the tokens that they were generated as."""

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.sample.settings import Completion
from ocijax.sample.transcripts import Transcripts
from ocijax.template import LLAMA2, tokenize

ASKED = Conversation("one", (Message("user", "word1 word2"),))


@pytest.fixture
def transcripts(tokenizer):
    return Transcripts(LLAMA2, tokenizer)


def spelled(text: str, tokenizer) -> list[int]:
    """The text letter by letter, as a tokenizer would not encode it."""
    return [index for letter in text for index in tokenizer.encode(letter)]


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_answer_has_the_tokens_that_it_was_generated_as(transcripts, tokenizer, reason):
    end = tokenizer.special_id("</s>")
    letters = spelled("word", tokenizer)
    tokens = (*letters, end) if reason == "stop" else tuple(letters)
    transcripts.remember(ASKED, Completion("word", tokens, reason))
    again = ASKED.append("assistant", "word").append("user", "word3")
    found = transcripts.tokens(again).tolist()
    asked = tokenize(ASKED, LLAMA2, tokenizer).tokens.tolist()
    assert found[: len(asked)] == asked
    assert found[len(asked) :][: len(letters) + 1] == [*letters, end]
    whole = tokenize(again, LLAMA2, tokenizer)
    assert found[len(asked) + len(letters) + 1 :] == whole.tokens[whole.messages > 1].tolist()
    assert found != whole.tokens.tolist()


def test_what_was_said_elsewhere_is_encoded_as_ever(transcripts, tokenizer):
    tokens = (*spelled("word", tokenizer), tokenizer.special_id("</s>"))
    transcripts.remember(ASKED, Completion("word", tokens, "stop"))
    other = Conversation("two", (Message("user", "word3"),)).append("assistant", "word")
    other = other.append("user", "word1")
    assert transcripts.tokens(other).tolist() == tokenize(other, LLAMA2, tokenizer).tokens.tolist()


def test_an_answer_that_a_stop_string_cut_is_encoded_as_ever(transcripts, tokenizer):
    transcripts.remember(ASKED, Completion("wo", tuple(spelled("word", tokenizer)), "stop"))
    again = ASKED.append("assistant", "wo").append("user", "word1")
    assert transcripts.tokens(again).tolist() == tokenize(again, LLAMA2, tokenizer).tokens.tolist()
