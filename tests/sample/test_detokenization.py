"""Text in parts, against decoding all at once."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tokenizers import Tokenizer, decoders, models

from ocijax.sample.detokenization import AnswerText
from ocijax.template import DEEPSEEK_CODER, LLAMA2, TEMPLATES
from ocijax.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer
from tests.sample.conftest import Bytes

TEXTS = ("dí €x", "a 🙂 b\n", " 你好 \n\n", "def add(a, b):\n    return a + b\n", "\n\n \n", "")
PLAIN = dataclasses.replace(DEEPSEEK_CODER, answer="{content}<|EOT|>")
AROUND = dataclasses.replace(LLAMA2, answer="<<{content.rstrip()} >></s>")


@pytest.fixture(scope="module")
def byte_fallback() -> HuggingFaceTokenizer:
    """A ``tokenizer.json`` of the Llama kind that knows a few pieces besides bytes."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b"]
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(ids, [], unk_token="<unk>", byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    return HuggingFaceTokenizer(json.loads(tokenizer.to_str()), "fallback")


@pytest.fixture(scope="module", params=["sentencepiece", "bytes", "tokenizer.json"])
def any_tokenizer(request, tiny_sentencepiece, byte_fallback):
    if request.param == "sentencepiece":
        return SentencePieceTokenizer(tiny_sentencepiece, "tiny")
    return Bytes() if request.param == "bytes" else byte_fallback


def in_parts(tokens, sizes, *rest) -> tuple[list[int], list[str]]:
    """What is taken and told of tokens that come in groups of these sizes, then one by one."""
    text, told = AnswerText(*rest), []
    sizes = iter(sizes)
    while tokens and not text.stopped:
        size = next(sizes, 1)
        told.append(text.add(tokens[:size]))
        tokens = tokens[size:]
    told.append(text.end())
    return text.tokens, told


def parts(tokens, *rest) -> list[str]:
    """What is told of tokens that come one by one, and at their end."""
    return in_parts(tokens, [], *rest)[1]


def at_once(tokens, tokenizer, template, stop=()) -> tuple[list[int], str]:
    """The tokens up to a stop string, and their text."""
    for count in range(len(tokens) + 1):
        text = tokenizer.decode(tokens[:count]).removesuffix("\N{REPLACEMENT CHARACTER}")
        if found := [text.index(string) for string in stop if string in text]:
            return tokens[:count], template.answer_text(text[: min(found)])
    return tokens, template.answer_text(tokenizer.decode(tokens))


@pytest.mark.parametrize("template", [PLAIN, AROUND, *TEMPLATES.values()], ids=lambda one: one.name)
@pytest.mark.parametrize("written", TEXTS)
def test_parts_make_up_the_text_that_is_decoded_all_at_once(any_tokenizer, template, written):
    tokens = any_tokenizer.encode(written)
    _, whole = at_once(tokens, any_tokenizer, template)
    for size in (1, 2, 3, 100):
        _, told = in_parts(tokens, [size] * 100, any_tokenizer, template)
        assert "".join(told) == whole


@given(some.data())
@settings(max_examples=200, deadline=None)
def test_so_they_do_for_any_tokens_sizes_and_stop_strings(any_tokenizer, data):
    common = [byte + offset for byte in b" \nab\xe2\x82\xac<>" for offset in (0, 1, 3)]
    token = some.sampled_from(common) | some.integers(0, any_tokenizer.vocab_size + 3)
    tokens = data.draw(some.lists(token, max_size=30))
    text = any_tokenizer.decode(tokens)
    places = some.integers(0, max(0, len(text) - 1))
    begin = data.draw(some.lists(places, max_size=2))
    # Half a character is no text that a stop string can be compared with.
    stop = tuple(
        cut
        for one in begin
        if (cut := text[one : one + 3]) and "\N{REPLACEMENT CHARACTER}" not in cut
    )
    template = data.draw(some.sampled_from([PLAIN, AROUND, DEEPSEEK_CODER, LLAMA2]))
    sizes = data.draw(some.lists(some.integers(1, 5), max_size=30))
    taken, told = in_parts(tokens, sizes, any_tokenizer, template, stop)
    assert (taken, "".join(told)) == at_once(tokens, any_tokenizer, template, stop)


def test_a_character_is_told_once_it_is_whole():
    tokens = list("a€🙂".encode())
    assert parts(tokens, Bytes(), PLAIN) == ["a", "", "", "€", "", "", "", "🙂", ""]


def test_a_half_character_at_the_end_is_told_as_such():
    tokens = list("a€".encode()[:-1])
    assert parts(tokens, Bytes(), PLAIN) == ["a", "", "", "\N{REPLACEMENT CHARACTER}"]


def test_what_may_begin_a_stop_string_is_held_back_until_it_does_not():
    tokens = list(b"one<en<end>two")
    told = parts(tokens, Bytes(), PLAIN, ("<end>",))
    assert told == ["o", "n", "e", "", "", "", "<en", "", "", "", "", ""]


def test_white_space_that_the_template_takes_from_the_end_is_held_back():
    assert parts(list(b" a b \n"), Bytes(), LLAMA2) == ["", "a", "", " b", "", "", ""]
    assert parts(list(b"a\n\n"), Bytes(), DEEPSEEK_CODER) == ["a", "", "\n", ""]


@pytest.mark.parametrize("written", [b"some text ", "🙂€".encode(), b"\x80", b"\xf0\x9f"])
def test_a_token_takes_no_longer_in_a_long_answer(written):
    class Counting(Bytes):
        decoded = 0

        def decode(self, ids):
            self.decoded += len(ids)
            return super().decode(ids)

    def decoded(tokens):
        counting = Counting()
        in_parts(tokens, [5] * len(tokens), counting, PLAIN, ("never",))
        return counting.decoded

    assert decoded(list(40 * written)) < 2.1 * decoded(list(20 * written))


def test_byte_fallback_loses_no_character_beside_half_ones(byte_fallback):
    """The library gives up all bytes of a run of which one is bad."""
    tokens = byte_fallback.encode("\n€🙂")
    assert byte_fallback.decode(tokens[:-1]) == "\n€\N{REPLACEMENT CHARACTER}"
    assert byte_fallback.decode(tokens) == "\n€🙂"
