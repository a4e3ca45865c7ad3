"""Recipes that name no files: a plan does without data, tokenizer and base model."""

from collections.abc import Mapping
from typing import Any

from ocijax.configuration import from_mapping
from ocijax.train.config import Recipe

_ABSENT = "absent"


def recipe_without_files(mapping: Mapping[str, Any]) -> Recipe:
    """A recipe to plan with, from a mapping in which the names of files may be empty.

    Example::

      plan_training(recipe_without_files(get_config().to_dict()), find_devices("v5e:8x8"))

    Raises:
      InputError: as `ocijax.configuration.from_mapping`.
    """

    def filled(part: str, *names: str) -> dict[str, Any]:
        given = dict(mapping.get(part, {}))
        return given | {name: given.get(name) or _ABSENT for name in names}

    data, train = filled("data", "train", "tokenizer"), filled("train", "initial_checkpoint")
    return from_mapping(Recipe, {**mapping, "data": data, "train": train})
