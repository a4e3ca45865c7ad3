"""Attention to slots against softmax in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.sample.decode_attention import attend_to_slots
from tests.sample.reference_attention import causal_attention

SLOTS, PLACES, HEAD_DIM = 5, 192, 64
LENGTHS = np.array([1, 2, 64, 100, PLACES - 8], np.int32)


def inputs(heads: int, key_value_heads: int, width: int = 1) -> list[np.ndarray]:
    """Queries, keys and values."""
    random = np.random.default_rng(0)
    shape = (SLOTS, key_value_heads, PLACES, HEAD_DIM)
    query = random.normal(size=(SLOTS, width, heads, HEAD_DIM))
    return [query, random.normal(size=shape), random.normal(size=shape)]


@pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("width", [1, 8])
def test_masked_attention_sees_what_is_filled(heads, window, width):
    arrays = inputs(*heads, width)
    with jax.default_matmul_precision("highest"):
        found = attend_to_slots("masked", *map(jnp.float32, arrays), jnp.asarray(LENGTHS), window)
    np.testing.assert_allclose(found, causal_attention(*arrays, LENGTHS, window), atol=1e-5)


@pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
@pytest.mark.parametrize("width", [1, 8])
def test_cudnn_sees_what_is_filled(cudnn, heads, width):
    arrays = inputs(*heads, width)
    attend = jax.jit(attend_to_slots, static_argnums=(0, 5))
    found = attend("cudnn", *map(jnp.bfloat16, arrays), jnp.asarray(LENGTHS), None)
    expected = causal_attention(*arrays, LENGTHS, None)
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, atol=0.03, rtol=0.03)
