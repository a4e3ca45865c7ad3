"""How the forward runs changes nothing; shapes that make no decoder are refused."""

import re
from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pytest

from ocijax.model.attention import visible
from ocijax.model.config import ModelConfig, RopeScaling
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import init_parameters
from ocijax.model.remat import Remat
from ocijax.train.loss import batch_loss, with_targets
from tests.train.conftest import random_batch

CONFIG = ModelConfig(
    vocab_size=48,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=64,
)


def loss_and_gradient(remat, scan_layers):
    batch = with_targets(random_batch(2, 24, CONFIG.vocab_size))
    parameters = init_parameters(CONFIG, jax.random.key(0))

    def loss(parameters):
        compute = ComputeConfig("float32", scan_layers=scan_layers)
        return batch_loss(Decoder(CONFIG, compute, parameters), batch, 8, remat)[0]

    return jax.jit(jax.value_and_grad(loss))(parameters)


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize("remat", get_args(Remat))
def test_recomputing_and_unrolling_layers_change_neither_loss_nor_gradient(remat, scan_layers):
    loss, gradient = loss_and_gradient(remat, scan_layers)
    expected_loss, expected = loss_and_gradient("none", True)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    for path, leaf in expected.items():
        np.testing.assert_allclose(gradient[path], leaf, rtol=1e-4, atol=1e-6, err_msg=path)


def test_a_window_counts_the_position_itself():
    positions = np.arange(5)
    seen = np.asarray(visible(positions, positions, 2))
    np.testing.assert_array_equal(seen, np.tri(5, k=0, dtype=bool) & ~np.tri(5, k=-2, dtype=bool))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head_dim": 3}, "head_dim must be even"),
        ({"num_key_value_heads": 4}, "num_attention_heads (6) must be a multiple"),
        ({"sliding_window": 0}, "sliding_window must be positive or None, is 0"),
        ({"norm_eps": 0.0}, "norm_eps must be positive"),
    ],
)
def test_a_shape_that_makes_no_decoder_is_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        replace(CONFIG, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("linear", 0.0), "factor must be positive"),
        (("linear", 4.0, 1.0), "low_freq_factor means nothing for rope_type linear"),
        (("llama3", 8.0, 1.0, 4.0), "original_max_position_embeddings must be positive for"),
        (("llama3", 8.0, 4.0, 1.0, 64), "low_freq_factor (4.0) must be less than"),
    ],
)
def test_a_rotary_scaling_that_contradicts_itself_is_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        RopeScaling(*fields)
