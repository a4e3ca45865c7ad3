"""A sentencepiece model and the tokenizer.json made of it give the same ids."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.conversation import Conversation, Message
from ocijax.hugging_face.folder import write_folder
from ocijax.hugging_face.tokenizer_json import tokenizer_json
from ocijax.model.description import ModelDescription
from ocijax.model.presets import get_preset
from ocijax.template import LLAMA2, tokenize
from ocijax.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer
from ocijax.vocabulary import train_vocabulary
from tests.conftest import CORPUS
from tests.live import needs_transformers

TEXT = st.text(st.characters(codec="utf-8", exclude_characters=["\u2581"]))
CODE = st.text(" \n\tdefrtun(x):<s>/INST[]0")
CONVERSATION = Conversation(
    "1", (Message("user", "add"), Message("assistant", CORPUS), Message("user", "    more"))
)


def both(model: bytes):
    """The tokenizer of a model, and that of the file made of it."""
    converted = json.loads(tokenizer_json(model))
    return SentencePieceTokenizer(model, "m"), HuggingFaceTokenizer(converted, "j")


@pytest.fixture(scope="module")
def trained() -> bytes:
    return train_vocabulary([CONVERSATION], LLAMA2, 340)


@pytest.fixture(scope="module")
def llama(data_dir) -> bytes:
    return (data_dir / "tokenizers/llama2/tokenizer.model").read_bytes()


@pytest.mark.parametrize("name", ["trained", "llama"])
def test_ids_and_text_are_the_same(request, name):
    ours, theirs = both(request.getfixturevalue(name))
    assert (ours.vocab_size, ours.text_prefix) == (theirs.vocab_size, theirs.text_prefix)
    assert [ours.special_id(token) for token in ("<s>", "</s>")] == [
        theirs.special_id(token) for token in ("<s>", "</s>")
    ]

    @given(TEXT | CODE)
    def same(text):
        ids = ours.encode(text)
        assert theirs.encode(text) == ids
        assert theirs.decode(ids) == text

    same()


def test_python_files_have_the_same_ids(llama, data_dir):
    ours, theirs = both(llama)
    path = data_dir / "python-corpus/thealgorithms/python_files.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    assert all(ours.encode(text) == theirs.encode(text) for text in texts[::4])


def test_symbols_with_spaces_cannot_be_expressed(tiny_sentencepiece):
    assert tokenizer_json(tiny_sentencepiece) is None


@needs_transformers
@pytest.mark.parametrize("name", ["trained", "llama"])
def test_transformers_cuts_an_exported_conversation_as_we_do(request, tmp_path, name):
    from transformers import AutoTokenizer

    model, exported = tmp_path / "tokenizer.model", tmp_path / "exported"
    model.write_bytes(request.getfixturevalue(name))
    exported.mkdir()
    write_folder(
        exported, ModelDescription(get_preset("codellama-7b"), model, "llama-2"), "float32"
    )
    expected = tokenize(CONVERSATION, LLAMA2, load_tokenizer(model)).tokens.tolist()
    again = tokenize(CONVERSATION, LLAMA2, load_tokenizer(exported))
    assert again.tokens.tolist() == expected
    messages = [vars(message) for message in CONVERSATION.messages]
    loaded = AutoTokenizer.from_pretrained(exported)
    found = loaded.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert found == expected
