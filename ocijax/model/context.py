"""Rows longer than one device takes: how the devices along ``context`` share their positions.

Each has two pieces of every row, as far from its beginning as the other is from its end, so that
causal attention costs all of them the same (arXiv 2407.21783, section 3.3.2). Queries stay where
they are; keys and values are gathered, which grouped-query attention keeps small.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ocijax.sharding import is_split_by_hand


def shared_order(length: int, parts: int) -> np.ndarray:
    """The positions of a row, ``[length]``, one device's after the other's."""
    pieces = np.arange(length).reshape(2 * parts, -1)
    return np.stack([pieces[:parts], pieces[::-1][:parts]], axis=1).reshape(-1)


def context_place() -> tuple[jax.Array | int, int]:
    """``(index, parts)``: which of the parts of a row is on the device that runs this."""
    if not is_split_by_hand("length"):
        return 0, 1
    return jax.lax.axis_index("context"), jax.lax.axis_size("context")


def whole_rows(array: jax.Array) -> jax.Array:
    """``[batch, length / parts, ...]`` of each device as ``[batch, length, ...]``, in row order."""
    if not is_split_by_hand("length"):
        return array
    parts = jax.lax.axis_size("context")
    batch, length, *rest = array.shape
    gathered = jax.lax.all_gather(array, "context", axis=1)
    pieces = gathered.reshape(batch, parts, 2, length // 2, *rest)
    ordered = jnp.concatenate([pieces[:, :, 0], pieces[:, ::-1, 1]], axis=1)
    return ordered.reshape(batch, parts * length, *rest)
