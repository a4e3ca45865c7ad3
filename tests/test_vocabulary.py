"""A vocabulary learnt from conversations, seen through the tokenizer that reads it."""

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.template import LLAMA2, TEMPLATES, tokenize
from ocijax.tokenizer import SentencePieceTokenizer
from ocijax.vocabulary import train_vocabulary

CONVERSATIONS = [
    Conversation(
        str(number),
        (
            Message("user", f"Write solve(numbers): add {number} to each."),
            Message(
                "assistant", f"def solve(numbers):\n    return [n + {number} for n in numbers]"
            ),
        ),
    )
    for number in range(50)
]


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer(train_vocabulary(CONVERSATIONS, LLAMA2, 420), "model")


def test_digits_are_pieces_of_their_own(tokenizer):
    assert [tokenizer.decode([index]) for index in tokenizer.encode("4071")] == list("4071")


def test_frequent_phrases_are_one_piece_even_over_words_and_line_ends(tokenizer):
    pieces = [tokenizer.decode([index]) for index in tokenizer.encode(" for n in numbers):\n")]
    assert pieces == [" for n in numbers", "):\n"]


@pytest.mark.parametrize("text", ["naïve — 漢字 🙂", " two  spaces\t\n\n", "</s>[INST]"])
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_special_tokens_of_the_template_are_there(template):
    tokenizer = SentencePieceTokenizer(train_vocabulary(CONVERSATIONS, template, 400), "model")
    assert tokenize(CONVERSATIONS[0], template, tokenizer).completion.any()
    assert tokenizer.text_prefix == ""


def test_same_text_gives_the_same_file():
    one, two = (train_vocabulary(CONVERSATIONS, LLAMA2, 340) for _ in range(2))
    assert one == two


def test_size_too_small_for_the_bytes_is_refused():
    with pytest.raises(InputError, match="no vocabulary of 100 pieces"):
        train_vocabulary(CONVERSATIONS, LLAMA2, 100)
