"""Real vocabularies given the special tokens of every template."""

import json
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from ocijax.template import TEMPLATES

SPECIAL_TOKENS = sorted(
    {token for template in TEMPLATES.values() for token in template.special_tokens}
)


def extended_sentencepiece(path: Path) -> bytes:
    """A ``tokenizer.model`` with those that it lacks at its end."""
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    there = {piece.piece for piece in model.pieces}
    for token in SPECIAL_TOKENS:
        if token not in there:
            model.pieces.add(piece=token, score=0, type=model.SentencePiece.CONTROL)
    return model.SerializeToString()


def extended_json(path: Path) -> dict[str, Any]:
    """A ``tokenizer.json`` with those that it lacks at its end."""
    config = json.loads(path.read_text(encoding="utf-8"))
    added = config["added_tokens"]
    there = {token["content"] for token in added}
    first = 1 + max(*config["model"]["vocab"].values(), *(token["id"] for token in added))
    missing = [token for token in SPECIAL_TOKENS if token not in there]
    added += [
        {**added[0], "id": index, "content": token, "special": True}
        for index, token in enumerate(missing, first)
    ]
    return config
