"""Tokenizers that have the special tokens of every template."""

import pytest

from ocijax.tokenizer import (
    HuggingFaceTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    load_tokenizer,
)
from tests.template.vocabularies import extended_json, extended_sentencepiece


@pytest.fixture(scope="session")
def tiny(tiny_tokenizer_file) -> Tokenizer:
    return load_tokenizer(tiny_tokenizer_file)


@pytest.fixture(scope="session")
def deepseek(data_dir) -> Tokenizer:
    path = data_dir / "tokenizers/recovered/deepseek-coder.tokenizer.json"
    return HuggingFaceTokenizer(extended_json(path), path.name)


@pytest.fixture(scope="session")
def starcoder2(data_dir) -> Tokenizer:
    path = data_dir / "tokenizers/recovered/starcoder2.tokenizer.json"
    return HuggingFaceTokenizer(extended_json(path), path.name)


@pytest.fixture(scope="session")
def llama(data_dir) -> Tokenizer:
    path = data_dir / "tokenizers/llama2/tokenizer.model"
    return SentencePieceTokenizer(extended_sentencepiece(path), path.name)


@pytest.fixture(params=["tiny", "llama", "deepseek", "starcoder2"])
def tokenizer(request) -> Tokenizer:
    """Each of them."""
    return request.getfixturevalue(request.param)
