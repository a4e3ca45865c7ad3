"""Attention of a conversation's last tokens to all that its slot holds, by the kernel there is.

- ``cudnn``: NVIDIA's fused kernel, told how much each slot holds: it reads no more than that. It
  cannot be told that of several last tokens each sees one more than the one before; so what they
  see of each other is computed beside it.
- ``masked``: XLA's own products over all places given, under a mask; runs everywhere, and on keys
  and values in eight bits.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.attention import masked_attention, visible
from ocijax.model.config import ModelConfig
from ocijax.model.cudnn import cudnn_attention_to_first, is_for_cudnn

DecodeKernel = Literal["cudnn", "masked"]


_FEW_SLOTS = 8
"""With fewer, several tokens of each are looked at faster by XLA's own products."""


def choose_decode_kernel(
    config: ModelConfig, dtype: str, mesh: Mesh, slots: int, width: int = 1
) -> DecodeKernel:
    """The fastest kernel that the devices have.

    Args:
      config: the model's shape.
      dtype: of keys and values.
      mesh: of the devices.
      slots: how many there are.
      width: tokens of each that are attended to at once.
    """
    if width > 1 and slots < _FEW_SLOTS:
        return "masked"
    return "cudnn" if is_for_cudnn(config, dtype, mesh) else "masked"


def attend_to_slots(
    kernel: DecodeKernel,
    query: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    lengths: jax.Array,
    window: int | None,
) -> jax.Array:
    """Grouped-query attention of the last tokens of each slot.

    Args:
      kernel: of `choose_decode_kernel`.
      query: ``[slots, width, heads, head_dim]``, of the token that fills the last of ``lengths``
        and of those behind it.
      keys: ``[slots, key_value_heads, places, head_dim]``.
      values: as ``keys``.
      lengths: ``[slots]`` int32, places that are filled up to the first query's, at least one.
      window: how many of the last places are looked at; ``None``: all.

    Returns:
      ``[slots, width, heads, head_dim]``.
    """
    width = query.shape[1]
    if kernel == "cudnn":
        attend = _cudnn_attention if width == 1 else _cudnn_attention_of_several
        return attend(query, keys, values, lengths)
    positions = lengths[:, None] - 1 + jnp.arange(width)
    mask = visible(positions, jnp.arange(keys.shape[2]), window)
    return masked_attention(query, keys.swapaxes(1, 2), values.swapaxes(1, 2), mask)


def _cudnn_attention(
    query: jax.Array, keys: jax.Array, values: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Of all tokens ``[slots, width, heads, head_dim]`` to the same first places."""
    return cudnn_attention_to_first(query.swapaxes(1, 2), keys, values, lengths).swapaxes(1, 2)


def _cudnn_attention_of_several(
    query: jax.Array, keys: jax.Array, values: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Of each token to all before it: those of before by the kernel, and themselves."""
    _, width, heads, head_dim = query.shape
    query, before = query.swapaxes(1, 2), lengths - 1
    some = jnp.maximum(before, 1)
    context, logarithms = cudnn_attention_to_first(query, keys, values, some, residual=True)
    # The kernel takes no slot without any token.
    logarithms = jnp.where((before > 0)[:, None, None], logarithms, -jnp.inf)

    def latest(array: jax.Array) -> jax.Array:
        def of_slot(slot, start):
            return jax.lax.dynamic_slice_in_dim(slot, start, width, axis=1)

        return jnp.repeat(jax.vmap(of_slot)(array, before), heads // array.shape[1], axis=1)

    scores = jnp.einsum("shqd,shkd->shqk", query, latest(keys), preferred_element_type=jnp.float32)
    mask = visible(jnp.arange(width), jnp.arange(width), None)
    scores = jnp.where(mask, scores * head_dim**-0.5, -jnp.inf)
    greatest = jnp.maximum(scores.max(axis=-1), logarithms)
    weights, weight = jnp.exp(scores - greatest[..., None]), jnp.exp(logarithms - greatest)
    among = jnp.einsum(
        "shqk,shkd->shqd",
        weights.astype(query.dtype),
        latest(values),
        preferred_element_type=jnp.float32,
    )
    context = among + weight[..., None] * context.astype(jnp.float32)
    context = context / (weights.sum(axis=-1) + weight)[..., None]
    return context.astype(query.dtype).swapaxes(1, 2)
