"""What a model is beside its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocijax.model.config import ModelConfig
from ocijax.model.lora import LoraConfig


@dataclass(frozen=True)
class AdapterDescription:
    """What the parameters of an adapter belong to.

    Attributes:
      lora: the weights that they adapt.
      base: checkpoint or Hugging Face folder that has the model's own parameters.
    """

    lora: LoraConfig
    base: str


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
      adapter: ``None`` where the parameters are the model's own.
    """

    config: ModelConfig
    tokenizer: str | Path
    template: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    adapter: AdapterDescription | None = None
