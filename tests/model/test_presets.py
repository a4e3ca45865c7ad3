"""Presets hold as many parameters as transformers counts in them (tests/golden/make_presets.py)."""

import json
import math
import re
from pathlib import Path

import jax
import pytest

from configs.deepseek_coder_1_3b import get_config
from ocijax.configuration import from_mapping, to_mapping
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig, RopeScaling
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


NAMED_OTHERWISE = re.compile(r"-hf$|-\{base,instruct\}$")
# As `ocijax.model.presets` says of the 70B that are not the base.
OTHERWISE_THERE = {
    (f"codellama-70b-{variant}", field)
    for variant in ("python", "instruct")
    for field in ("rope_theta", "max_position_embeddings")
}


def test_the_27_published_shapes_are_those_that_others_have_gathered(data_dir):
    published = json.loads((data_dir / "model_configs.json").read_text())["models"]
    differing = set()
    for theirs in published:
        name = NAMED_OTHERWISE.sub("", theirs["model"].rpartition("/")[2].lower())
        config = get_preset(name)
        assert parameter_count(config) == theirs["computed_parameters"], name
        if scaling := theirs["rope_scaling"]:
            kind = scaling.pop("type", None) or scaling.pop("rope_type")
            theirs["rope_scaling"] = to_mapping(RopeScaling(kind, **scaling))
        config = to_mapping(config)
        differing |= {
            (name, field)
            for field in config.keys() & theirs.keys() - {"norm"}
            if config[field] != theirs[field]
        }
    assert len(published) == 27
    assert differing == OTHERWISE_THERE


def test_the_recipe_of_deepseek_coder_has_the_shape_of_the_preset():
    model = from_mapping(ModelConfig, get_config().model)
    assert model == get_preset("deepseek-coder-1.3b")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    message = re.escape("model 'CodeLlama-7b-hf' has no preset; did you mean 'codellama-7b'?")
    with pytest.raises(InputError, match=message):
        get_preset("CodeLlama-7b-hf")
