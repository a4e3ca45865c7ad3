"""The sampler's weights compute what the model's parameters do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.attention import masked_attention, visible
from ocijax.model.decoder import ComputeConfig, Decoder, project, project_transposed
from ocijax.model.parameters import init_parameters
from ocijax.plan.topology import find_devices
from ocijax.sample.weights import abstract_weights, sampling_weights
from ocijax.sharding import MeshConfig, make_mesh
from tests.sample import conftest as sample

CONFIG = dataclasses.replace(sample.CONFIG, query_key_value_bias=True)


@pytest.fixture(scope="module")
def parameters():
    return init_parameters(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(), jax.local_devices()[:1])


def logits(weights, rows, project=project):
    def attend(index, query, key, value, state):
        mask = visible(positions, jnp.arange(tokens.shape[1]), None)
        return masked_attention(query, key, value, mask), state

    tokens = np.arange(rows * 6, dtype=np.int32).reshape(rows, 6) if rows > 1 else np.ones((1, 1))
    tokens = tokens.astype(np.int32)
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    decoder = Decoder(CONFIG, ComputeConfig("float32"), weights, project=project)
    return decoder.logits(decoder.run_layers(tokens, positions, attend, None)[0])


def test_joined_weights_give_the_same_logits(parameters, mesh):
    weights = sampling_weights(CONFIG, parameters, "float32", mesh)
    assert "layers/query_key_value" in weights
    assert "layers/query" not in weights
    np.testing.assert_allclose(logits(weights, 3), logits(parameters, 3), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
def test_transposed_weights_give_the_same_logits_of_one_row_and_of_several(parameters, mesh, rows):
    weights = sampling_weights(CONFIG, parameters, "float32", mesh, transposed=True)
    found = logits(weights, rows, project_transposed)
    np.testing.assert_allclose(found, logits(parameters, rows), atol=1e-5)


def test_weights_whose_outputs_are_split_are_not_joined():
    split = make_mesh(MeshConfig(tensor=2), find_devices("h100:2"))
    assert "layers/query_key_value" not in abstract_weights(CONFIG, "bfloat16", split)


def test_a_plan_knows_their_shapes(parameters, mesh):
    weights = sampling_weights(CONFIG, parameters, "bfloat16", mesh)
    abstract = abstract_weights(CONFIG, "bfloat16", mesh)
    shapes = [jax.tree.map(lambda one: (one.shape, one.dtype), one) for one in (weights, abstract)]
    assert shapes[0] == shapes[1]
