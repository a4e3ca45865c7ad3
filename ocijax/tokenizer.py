"""Tokenizers behind one interface: sentencepiece ``tokenizer.model``, HF ``tokenizer.json``.

A rendering is encoded piece by piece (see `ocijax.template`), so `Tokenizer.encode` is a function
of its text alone: it adds nothing before or after, and what it encodes decodes to the same text.
Vocabularies of the Llama kind were trained with a space put before every text (sentencepiece's
dummy prefix). Put before every piece it would add spaces in the middle of a conversation;
dropped everywhere, a pretrained model would see an unusual first token. So it is switched off in
`Tokenizer.encode`, kept as `Tokenizer.text_prefix`, and `ocijax.template.tokenize` writes it where
those models saw it: after a begin-of-sequence token.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import sentencepiece
import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from ocijax.errors import InputError

_MARKER = re.compile(
    r"<[|\uff5c].*[|\uff5c]>|</?s>|<(unk|pad|mask|bos|eos|step)>|<(start|end)_of_turn>", re.DOTALL
)
"""Spellings that are special whatever the file says: some files list them as ordinary symbols."""


class Tokenizer(Protocol):
    """Text to ids and back, with special tokens kept apart from text."""

    name: str
    """Where it came from, for messages."""

    vocab_size: int
    """Ids run from 0 to ``vocab_size - 1``; a model's vocabulary may be padded beyond."""

    text_prefix: str
    """What the vocabulary's texts began with in training: a space, or nothing."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: nothing is added, and a special token's spelling stays text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens and ids beyond the vocabulary are left out.

        Bytes that are no valid UTF-8, such as a character's first half, become U+FFFD.
        """

    def special_id(self, token: str) -> int | None:
        """Id of a special token by its spelling, or ``None``."""


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Makes sure that a model has a row for every token.

    Args:
      tokenizer: the model's.
      vocab_size: rows of the model's embedding table; more than the tokenizer needs are padding.

    Raises:
      InputError: there are too few.
    """
    if tokenizer.vocab_size > vocab_size:
        raise InputError(
            f"{tokenizer.name}: has {tokenizer.vocab_size} tokens, but the model's vocab_size is"
            f" {vocab_size}: take the tokenizer that belongs to the model, or set"
            f" config.model.vocab_size to {tokenizer.vocab_size} or more for a new one"
        )


class SentencePieceTokenizer:
    """A sentencepiece model; special are its control pieces and the symbols that look like one."""

    def __init__(self, model: bytes, name: str):
        self.name = name
        proto = sentencepiece_model_pb2.ModelProto()
        try:
            proto.ParseFromString(model)
        except DecodeError as error:
            raise InputError(f"{name}: not a sentencepiece model") from error
        if not proto.pieces:
            raise InputError(f"{name}: not a sentencepiece model")
        if proto.normalizer_spec.precompiled_charsmap:
            raise InputError(
                f"{name}: its normalization {proto.normalizer_spec.name!r} rewrites text, such as"
                " line ends; train it with normalization_rule_name='identity'"
            )
        self.text_prefix = " " if proto.normalizer_spec.add_dummy_prefix else ""
        proto.normalizer_spec.add_dummy_prefix = False
        proto.normalizer_spec.remove_extra_whitespaces = False
        self._processor = sentencepiece.SentencePieceProcessor(
            model_proto=proto.SerializeToString()
        )
        self.vocab_size = len(proto.pieces)
        kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
        self._special: dict[str, int] = {}
        self._bytes: list[bytes] = []
        symbols = []
        for index, piece in enumerate(proto.pieces):
            content = piece.piece.replace("▁", " ").encode()
            if piece.type == kinds.BYTE:
                content = bytes([int(piece.piece[3:5], 16)])
            elif piece.type == kinds.UNKNOWN:
                content = "\N{REPLACEMENT CHARACTER}".encode()
            elif piece.type == kinds.CONTROL or _MARKER.fullmatch(piece.piece):
                content = b""
                self._special[piece.piece] = index
                if piece.type == kinds.USER_DEFINED:
                    symbols.append(piece.piece)
            self._bytes.append(content)
        # In a piece's spelling a space is U+2581; the library takes either for it.
        spellings = [re.escape(symbol).replace("▁", "[ ▁]") for symbol in symbols]
        self._symbols = re.compile("|".join(spellings)) if spellings else None

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        ids: list[int] = []
        # The library always finds user-defined symbols in text: cut inside their spelling.
        while self._symbols and (match := self._symbols.search(text)):
            ids += self._processor.encode(text[: match.start() + 1])
            text = text[match.start() + 1 :]
        return ids + self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        content = b"".join(self._bytes[index] for index in ids if index < self.vocab_size)
        return content.decode(errors="replace")

    def special_id(self, token: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self._special.get(token)


class HuggingFaceTokenizer:
    """A ``tokenizer.json``; special are its added tokens that say so or look like one."""

    def __init__(self, config: dict[str, Any], name: str):
        self.name = name
        try:
            added = [dict(token) for token in config.get("added_tokens") or []]
            for token in added:
                token["special"] = bool(token["special"] or _MARKER.fullmatch(token["content"]))
            config, self.text_prefix = _without_prefix(config)
            self._tokenizer = tokenizers.Tokenizer.from_str(
                json.dumps({**config, "added_tokens": added})
            )
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{name}: not a tokenizer.json: {error}") from error
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._special = {token["content"]: token["id"] for token in added if token["special"]}
        # What the library would decode by what stands beside it: the byte-level decoder takes the
        # letters of an added token for bytes, byte fallback gives up good bytes beside bad ones.
        self._apart = {
            token["id"]: token["content"].encode() for token in added if not token["special"]
        }
        if (config.get("model") or {}).get("byte_fallback"):
            bytes_of = {self._tokenizer.token_to_id(f"<0x{byte:02X}>"): byte for byte in range(256)}
            self._apart |= {
                index: bytes([byte]) for index, byte in bytes_of.items() if index is not None
            }
        self.vocab_size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        content, run = b"", []
        for index in ids:
            if index in self._apart:
                content += self._tokenizer.decode(run).encode() + self._apart[index]
                run = []
            else:
                run.append(index)
        return (content + self._tokenizer.decode(run).encode()).decode(errors="replace")

    def special_id(self, token: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self._special.get(token)


_SEQUENCES = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "decoder": "decoders",
}


def _without_prefix(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A tokenizer.json without the steps that add or strip a leading space; what they added."""
    config, prefix = dict(config), ""
    for section, plural in _SEQUENCES.items():
        steps = config.get(section) or {}
        kept = []
        for step in steps.get(plural, [steps]):
            match step.get("type"):
                case None:
                    continue
                case "Prepend":
                    prefix = " "
                    continue
                case "Strip" if section == "decoder":
                    continue
                case "Metaspace":
                    if section == "pre_tokenizer" and step.get("prepend_scheme") != "never":
                        prefix = " "
                    step = {**step, "prepend_scheme": "never"}
                    step.pop("add_prefix_space", None)
                case "ByteLevel":
                    if section == "pre_tokenizer" and step.get("add_prefix_space"):
                        prefix = " "
                    step = {**step, "add_prefix_space": False}
            kept.append(step)
        config[section] = {"type": "Sequence", plural: kept} if kept else None
    return config, prefix


def tokenizer_file(path: str | Path) -> Path:
    """The file that `load_tokenizer` reads: ``path``, or the one in that folder.

    A folder with both gives its ``tokenizer.json``: tokens added later are only there.

    Raises:
      InputError: the folder has neither.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ("tokenizer.json", "tokenizer.model"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: holds neither tokenizer.json nor tokenizer.model")


def load_tokenizer(path: str | Path) -> Tokenizer:
    """A tokenizer from a ``tokenizer.model`` or ``tokenizer.json``, or a folder with one.

    Raises:
      InputError: there is no such file, or it is neither format.
    """
    path = tokenizer_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the tokenizer: {error.strerror}") from error
    if path.suffix != ".json":
        return SentencePieceTokenizer(content, str(path))
    try:
        config = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: not a tokenizer.json")
    return HuggingFaceTokenizer(config, str(path))
