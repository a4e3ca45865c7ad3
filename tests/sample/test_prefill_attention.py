"""Attention of chunks of prompts against softmax in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.sample.prefill_attention import attend_to_prompt
from tests.sample.reference_attention import causal_attention

ROWS, LENGTH, PLACES, HEAD_DIM = 3, 64, 256, 64
HEADS = pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
STARTS = pytest.mark.parametrize("starts", [(0, 0, 0), (1, 70, PLACES - LENGTH)])


def inputs(heads: int, key_value_heads: int, starts: tuple[int, ...]) -> list[np.ndarray]:
    """Queries, and keys and values of whole slots."""
    random = np.random.default_rng(0)
    places = PLACES if any(starts) else LENGTH
    shape = ROWS, key_value_heads, places, HEAD_DIM
    query = random.normal(size=(ROWS, LENGTH, heads, HEAD_DIM))
    return [query, random.normal(size=shape), random.normal(size=shape)]


def attend(kernel, arrays, starts, window, dtype) -> np.ndarray:
    """What `attend_to_prompt` finds, told of the slots where chunks do not begin there."""
    query, *held = (jnp.asarray(array, dtype) for array in arrays)
    places = np.array(starts)[:, None] + np.arange(LENGTH)
    own = (array[np.arange(ROWS)[:, None], :, places] for array in held)
    held = tuple(held) if any(starts) else None
    attend = jax.jit(attend_to_prompt, static_argnames=("kernel", "window"))
    found = attend(kernel, query, *own, held, jnp.asarray(starts, jnp.int32), window)
    return np.asarray(found, np.float64)


@HEADS
@STARTS
@pytest.mark.parametrize("window", [None, 40])
def test_masked_attention_sees_all_before(heads, starts, window):
    arrays = inputs(*heads, starts)
    with jax.default_matmul_precision("highest"):
        found = attend("masked", arrays, starts, window, jnp.float32)
    expected = causal_attention(*arrays, np.array(starts) + 1, window)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@HEADS
@STARTS
def test_cudnn_sees_all_before(cudnn, heads, starts):
    arrays = inputs(*heads, starts)
    found = attend("cudnn", arrays, starts, None, jnp.bfloat16)
    expected = causal_attention(*arrays, np.array(starts) + 1, None)
    np.testing.assert_allclose(found, expected, atol=0.03, rtol=0.03)
