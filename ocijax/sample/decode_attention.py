"""Attention of a conversation's last tokens to all that its slot holds, by the kernel there is.

- ``cudnn``: NVIDIA's fused kernel, told how much each slot holds: it reads no more than that. Of
  several tokens a conversation it is the other one.
- ``masked``: XLA's own products over all places given, under a mask; runs everywhere, and on keys
  and values in eight bits.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ocijax.model.attention import masked_attention, visible
from ocijax.model.config import ModelConfig

DecodeKernel = Literal["cudnn", "masked"]


def choose_decode_kernel(config: ModelConfig, dtype: str, device: jax.Device) -> DecodeKernel:
    """The fastest kernel that a device has for keys and values of a model in this dtype."""
    if device.platform != "gpu" or dtype not in ("bfloat16", "float16"):
        return "masked"
    # A sliding window counts from the last token, which cuDNN cannot be told of one token alone.
    whole = config.sliding_window is None and config.head_dim in (64, 128)
    return "cudnn" if whole and float(device.compute_capability) >= 8.0 else "masked"


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
    if kernel == "cudnn" and width == 1:
        return _cudnn_attention(query, keys, values, lengths)
    positions = lengths[:, None] - 1 + jnp.arange(width)
    mask = visible(positions, jnp.arange(keys.shape[2]), window)
    return masked_attention(query, keys.swapaxes(1, 2), values.swapaxes(1, 2), mask)


def _cudnn_attention(
    query: jax.Array, keys: jax.Array, values: jax.Array, lengths: jax.Array
) -> jax.Array:
    # JAX has no public function for keys in this order; the one behind it has.
    from jax._src.cudnn.fused_attention_stablehlo import MaskType, dot_product_attention

    context = dot_product_attention(
        query.swapaxes(1, 2),
        keys,
        values,
        q_seqlen=jnp.ones_like(lengths),
        kv_seqlen=lengths,
        scale=query.shape[-1] ** -0.5,
        mask_type=MaskType.PADDING,
        qkv_layout="BNTH",
    )
    return context.swapaxes(1, 2)
