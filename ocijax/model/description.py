"""What a model is beside its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocijax.model.config import ModelConfig


@dataclass(frozen=True)
class ModelDescription:
    """What travels with the parameters.

    Attributes:
      config: the shape.
      tokenizer: the tokenizer's file, or a folder with it.
      template: name of the chat template.
      files: small files of the Hugging Face folder that it came from, by name, see
        `ocijax.hugging_face.folder`.
      recipe: what it was trained by, as `ocijax.configuration.to_mapping` gives it.
    """

    config: ModelConfig
    tokenizer: str | Path
    template: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
