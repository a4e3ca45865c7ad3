"""Numbers in eight bits with a scale for those that belong together."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

_LARGEST = 127
"""Of the integers used, so that there are as many below zero as above."""


def quantize(array: jax.Array, axis: int | Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Rounds to multiples of a scale, the greatest number along ``axis`` being the last of them.

    Returns:
      int8 of the array's shape, and the scales, fp32 with 1 along ``axis``: their product is the
      array, but for half a scale. Where all is zero, the scale is 1.
    """
    wide = array.astype(jnp.float32)
    greatest = jnp.abs(wide).max(axis=axis, keepdims=True)
    scale = jnp.where(greatest > 0, greatest / _LARGEST, 1)
    return jnp.round(wide / scale).astype(jnp.int8), scale
