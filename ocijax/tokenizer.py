"""Tokenizers behind one interface: sentencepiece ``tokenizer.model``, HF ``tokenizer.json``."""

from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """Text to ids and back, with special tokens kept apart from text."""

    vocab_size: int
    """Ids run from 0 to ``vocab_size - 1``."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: nothing is added, and a special token's spelling stays text."""

    def decode(self, ids: list[int]) -> str:
        """Text of ids; special tokens are left out."""

    def special_id(self, token: str) -> int | None:
        """Id of a special token by its spelling, or ``None``."""


def load_tokenizer(path: str | Path) -> Tokenizer:
    """A tokenizer from a ``tokenizer.model`` or ``tokenizer.json``, or a folder with one."""
    raise NotImplementedError
