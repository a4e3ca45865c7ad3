"""The sampler of a checkpoint."""

import jax
import pytest

from ocijax.model.parameters import init_parameters
from ocijax.sample.loading import load_sampler
from ocijax.train.checkpoint import ModelDescription, save_model
from tests.sample.conftest import CONFIG


@pytest.fixture
def checkpoint(tiny_tokenizer_file, tmp_path):
    parameters = init_parameters(CONFIG, jax.random.key(0))
    folder = tmp_path / "model"
    save_model(folder, parameters, ModelDescription(CONFIG, tiny_tokenizer_file, "llama-2"))
    return folder


def test_weights_are_held_once(checkpoint):
    weights = sum(array.nbytes for array in init_parameters(CONFIG, jax.random.key(0)).values())
    slots = len(jax.devices())
    cache = slots * 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads * CONFIG.head_dim
    cache *= 64 * 4
    before = jax.live_arrays()
    loaded = load_sampler(checkpoint, slots=slots)
    known = set(map(id, before))
    held = [array.nbytes for array in jax.live_arrays() if id(array) not in known]
    assert weights + cache <= sum(held) < 1.2 * weights + cache
    del loaded
