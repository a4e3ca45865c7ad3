"""A sentencepiece model as the ``tokenizer.json`` that transformers reads.

transformers makes one by itself where there is none, but version 5 forgets the scores of the pieces
and then cuts text otherwise than the model was trained to see, indented lines among it.
"""

import json
from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2

_SPACE = "▁"
_SPACED = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
_UNSPACED = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}


def tokenizer_json(model: bytes) -> bytes | None:
    """The file that gives the ids of a sentencepiece model.

    Args:
      model: the content of a ``tokenizer.model`` that `ocijax.tokenizer` reads.

    Returns:
      ``None`` where such a file cannot express it: it is not of byte pairs, or finds symbols with
      spaces in text.
    """
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    kinds = proto.SentencePiece
    symbols = [piece.piece for piece in proto.pieces if piece.type == kinds.USER_DEFINED]
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE or any(map(_spaced, symbols)):
        return None
    (unknown,) = (piece.piece for piece in proto.pieces if piece.type == kinds.UNKNOWN)
    pairs = tokenizers.models.BPE(
        vocab={piece.piece: index for index, piece in enumerate(proto.pieces)},
        merges=_merges(proto),
        byte_fallback=proto.trainer_spec.byte_fallback,
        unk_token=unknown,
        fuse_unk=True,
    )
    prefixed = proto.normalizer_spec.add_dummy_prefix
    before = [{"type": "Prepend", "prepend": _SPACE}] if prefixed else []
    after = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else []
    config: dict[str, Any] = {
        **json.loads(tokenizers.Tokenizer(pairs).to_str()),
        "added_tokens": [
            {
                "id": index,
                "content": piece.piece,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": piece.type != kinds.USER_DEFINED,
            }
            for index, piece in enumerate(proto.pieces)
            if piece.type in (kinds.UNKNOWN, kinds.CONTROL, kinds.USER_DEFINED)
        ],
        "normalizer": {"type": "Sequence", "normalizers": [*before, _SPACED]},
        "decoder": {
            "type": "Sequence",
            "decoders": [_UNSPACED, {"type": "ByteFallback"}, {"type": "Fuse"}, *after],
        },
    }
    return json.dumps(config, ensure_ascii=False).encode()


def _spaced(symbol: str) -> bool:
    return _SPACE in symbol


def _merges(proto: sentencepiece_model_pb2.ModelProto) -> list[tuple[str, str]]:
    """The pairs of pieces that make another one, the best of these first."""
    normal = {
        piece.piece: (-piece.score, index)
        for index, piece in enumerate(proto.pieces)
        if piece.type == proto.SentencePiece.NORMAL
    }
    ranked = [
        (rank, normal[whole[:cut]][1], whole[:cut], whole[cut:])
        for whole, rank in normal.items()
        for cut in range(1, len(whole))
        if whole[:cut] in normal and whole[cut:] in normal
    ]
    return [(left, right) for _, _, left, right in sorted(ranked)]
