"""Attention of chunks of prompts to themselves and to what stands before, by the kernel there is.

- ``cudnn``: NVIDIA's fused kernels, which write no scores to memory: one for the chunk, and where
  it does not begin its conversation, one for what stands before it.
- ``masked``: XLA's own products, some queries after the other, under a mask; runs everywhere.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.attention import masked_attention, visible
from ocijax.model.config import ModelConfig
from ocijax.model.cudnn import cudnn_attention_to_first, cudnn_causal_attention, is_for_cudnn
from ocijax.sharding import axis_size

PrefillKernel = Literal["cudnn", "masked"]

_QUERY_BLOCK = 512
"""Queries of a long chunk that attend at once: what bounds the memory of ``masked`` scores."""


def choose_prefill_kernel(config: ModelConfig, dtype: str, mesh: Mesh) -> PrefillKernel:
    """The fastest kernel that the devices have.

    Args:
      config: the model's shape.
      dtype: of queries, and of keys and values as they are read.
      mesh: of the devices.
    """
    # Where devices share the rows, what is held of them is whole on each, which JAX refuses beside
    # queries that are not.
    alone = axis_size(mesh, "batch") == 1
    return "cudnn" if alone and is_for_cudnn(config, dtype, mesh) else "masked"


def attend_to_prompt(
    kernel: PrefillKernel,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    held: tuple[jax.Array, jax.Array] | None,
    starts: jax.Array,
    window: int | None,
) -> jax.Array:
    """Grouped-query attention of chunks, each token to itself and to all before it.

    Args:
      kernel: of `choose_prefill_kernel`.
      query: ``[rows, length, heads, head_dim]``.
      key: ``[rows, length, key_value_heads, head_dim]``, the chunk's own.
      value: as ``key``.
      held: keys and values of the slots, the chunks' own among them, ``[rows, key_value_heads,
        places, head_dim]`` each; ``None``: all chunks begin at the first place.
      starts: ``[rows]`` int32, place of a chunk's first token: zero where nothing is ``held``, and
        not zero where something is.
      window: how many of the last places are looked at, by ``masked`` alone; ``None``: all.

    Returns:
      ``[rows, length, heads, head_dim]``.
    """
    if kernel == "cudnn":
        if held is None:
            return cudnn_causal_attention(query, key, value, None)
        return _cudnn_in_two(query, key, value, held, starts)
    if held is not None:
        key, value = (array.swapaxes(1, 2) for array in held)
    length = query.shape[1]
    positions = starts[:, None] + jnp.arange(length)
    block = _QUERY_BLOCK if length % _QUERY_BLOCK == 0 else length

    def attend(start):
        queries, places = (
            jax.lax.dynamic_slice_in_dim(array, start, block, axis=1)
            for array in (query, positions)
        )
        mask = visible(places, jnp.arange(key.shape[1]), window)
        return masked_attention(queries, key, value, mask)

    if block == length:
        return attend(0)
    blocks = jax.lax.map(attend, jnp.arange(0, length, block))
    return blocks.swapaxes(0, 1).reshape(query.shape)


def _cudnn_in_two(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    held: tuple[jax.Array, jax.Array],
    starts: jax.Array,
) -> jax.Array:
    """To the chunk and to what stands before it, joined by the logarithms of both sums."""
    own, own_logarithms = cudnn_causal_attention(query, key, value, None, residual=True)
    before, logarithms = cudnn_attention_to_first(
        query.swapaxes(1, 2), *held, starts, residual=True
    )
    # Of all that is seen, the share that stands before.
    share = jax.nn.sigmoid(logarithms - own_logarithms).swapaxes(1, 2)[..., None]
    context = share * before.swapaxes(1, 2) + (1 - share) * own
    return context.astype(query.dtype)
