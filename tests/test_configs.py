"""Every recipe in configs/ can be read, on all devices that it names."""

import importlib
from pathlib import Path

import pytest

from ocijax.configuration import from_mapping
from ocijax.train.config import Recipe

FOLDER = Path(__file__).parents[1] / "configs"
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__", "base", "paper"})


def recipes():
    for name in NAMES:
        module = importlib.import_module(f"configs.{name}")
        for devices in getattr(module, "LAYOUTS", [None]):
            yield pytest.param(module, devices, id=f"{name}:{devices}" if devices else name)


def read(config):
    mapping = config.to_dict()
    mapping["data"].update(train="file", tokenizer="file")
    if mapping["lora"]["rank"]:
        mapping["train"]["initial_checkpoint"] = "folder"
    return from_mapping(Recipe, mapping)


@pytest.mark.parametrize(("module", "devices"), list(recipes()))
def test_a_recipe_is_complete_but_for_files(module, devices):
    recipe = read(module.get_config(devices) if devices else module.get_config())
    assert recipe.data.template


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if hasattr(importlib.import_module(f"configs.{name}"), "LAYOUTS")],
)
def test_the_recipes_of_the_paper_have_its_hyper_parameters(name):
    recipe = read(importlib.import_module(f"configs.{name}").get_config())
    stated = recipe.train.epochs, recipe.train.learning_rate, recipe.train.warmup_fraction
    assert (*stated, recipe.data.length) == (3, 2e-5, 0.05, 4096)


def test_devices_without_a_layout_are_refused_with_those_that_have_one():
    from configs.gemma_7b import get_config

    with pytest.raises(LookupError, match="gemma-7b has no layout for 'v1:2'; choose v5e:8x8, "):
        get_config("v1:2")
