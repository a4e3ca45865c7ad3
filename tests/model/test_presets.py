"""Presets hold as many parameters as transformers counts in them (tests/golden/make_presets.py)."""

import json
import math
import re
from pathlib import Path

import jax
import pytest

from configs.deepseek_coder_1_3b import get_config
from ocijax.configuration import from_mapping
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.parameters import init_parameters, parameter_count
from ocijax.model.presets import PRESETS, get_preset
from tests.live import needs_transformers

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "presets.json").read_text())


def test_every_preset_is_counted():
    assert COUNTS.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_as_many_as_in_transformers(name):
    config = get_preset(name)
    assert parameter_count(config) == COUNTS[name]
    arrays = jax.eval_shape(lambda key: init_parameters(config, key), jax.random.key(0))
    assert sum(math.prod(array.shape) for array in arrays.values()) == COUNTS[name]


@needs_transformers
@pytest.mark.parametrize("name", PRESETS)
def test_transformers_counts_them_so_here_and_now(name):
    from tests.golden.make_presets import count_parameters

    assert count_parameters(name) == COUNTS[name]


def test_the_recipe_of_deepseek_coder_has_the_shape_of_the_preset():
    model = from_mapping(ModelConfig, get_config().model)
    assert model == get_preset("deepseek-coder-1.3b")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    message = re.escape("model 'CodeLlama-7b-hf' has no preset; did you mean 'codellama-7b'?")
    with pytest.raises(InputError, match=message):
        get_preset("CodeLlama-7b-hf")
