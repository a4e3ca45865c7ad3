"""Attention over packed rows by splash, the block-sparse Pallas kernel for TPU that JAX ships."""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
)

from ocijax.model.remat import CONTEXT

LANES = 128
"""What lengths must be a multiple of, and what head dimensions are filled up to."""

_BLOCKS = (512, 256, 128)
"""Sizes of a block; MaxText's default first."""


def splash_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segment_ids: jax.Array,
    window: int | None,
    interpret: bool = False,
) -> jax.Array:
    """Causal grouped-query attention within each segment of packed rows.

    Args:
      query: ``[batch, length, heads, head_dim]``; the length a multiple of `LANES`.
      key: ``[batch, length, key_value_heads, head_dim]``.
      value: as ``key``.
      segment_ids: ``[batch, length]`` int32; those of padding see each other.
      window: how many positions a query sees, its own included; ``None``: all.
      interpret: runs on any device, slowly.

    Returns:
      ``[batch, length, heads, head_dim]``.
    """
    _, length, heads, head_dim = query.shape
    kernel = _kernel(length, heads, window, interpret)
    scaled = query * jnp.asarray(head_dim**-0.5, query.dtype)
    fill = [(0, 0)] * 3 + [(0, -head_dim % LANES)]
    arrays = (jnp.pad(array, fill).swapaxes(1, 2) for array in (scaled, key, value))
    segments = splash_attention_kernel.SegmentIds(segment_ids, segment_ids)
    context = jax.vmap(kernel)(*arrays, segments)
    return context.swapaxes(1, 2)[..., :head_dim]


def _kernel(
    length: int, heads: int, window: int | None, interpret: bool
) -> splash_attention_kernel.SplashAttentionKernel:
    shape = (length, length)
    if window is None:
        mask = splash_attention_mask.CausalMask(shape)
    else:
        mask = splash_attention_mask.LocalMask(shape, (window - 1, 0), offset=0)
    block = next(size for size in _BLOCKS if length % size == 0)
    sizes = splash_attention_kernel.BlockSizes(*[block] * 8)
    return splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=CONTEXT,
        interpret=interpret,
    )
