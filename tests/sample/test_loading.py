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


def test_weights_are_held_once_and_slots_not_before_they_are_needed(checkpoint):
    weights = sum(array.nbytes for array in init_parameters(CONFIG, jax.random.key(0)).values())
    before = {id(array) for array in jax.live_arrays()}
    loaded = load_sampler(checkpoint, slots=100)
    held = [array.nbytes for array in jax.live_arrays() if id(array) not in before]
    assert weights <= sum(held) < 1.2 * weights
    del loaded
