"""What a recipe does not say: the defaults of `ocijax.train.config.Recipe`, as a `ConfigDict`."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from ocijax.configuration import to_mapping
from ocijax.model.config import ModelConfig
from ocijax.train.config import Recipe


def recipe(model: ModelConfig, **changes: Mapping[str, Any]) -> ConfigDict:
    """The recipe for a model that differs from the defaults in these fields.

    Every field of it can be overridden by a flag. Those without a default, such as ``data.train``,
    are empty where they are not given, and are asked for when training starts.

    Example::

      recipe(PRESETS["gemma-7b"], data={"template": "gemma"}, train={"epochs": 1})

    Args:
      model: its shape.
      changes: the fields of each part that differ, see `Recipe`.
    """
    config = ConfigDict({"model": to_mapping(model), **_defaults(Recipe)})
    config.update(changes)
    return config


def _defaults(kind: type) -> dict[str, Any]:
    hints, values = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if hint is ModelConfig:
            continue
        if dataclasses.is_dataclass(hint):
            values[field.name] = _defaults(hint)
        elif hint == tuple[str, ...] or field.default is dataclasses.MISSING:
            values[field.name] = ""  # a flag gives parts with commas between
        else:
            values[field.name] = field.default
    return values
