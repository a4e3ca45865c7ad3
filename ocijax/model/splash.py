"""Attention over packed rows by splash, the block-sparse Pallas kernel for TPU that JAX ships."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
)

from ocijax.model.context import shared_order
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
    key_segment_ids: jax.Array | None = None,
    place: tuple[jax.Array | int, int] = (0, 1),
) -> jax.Array:
    """Causal grouped-query attention within each segment of packed rows.

    Args:
      query: ``[batch, length, heads, head_dim]``; the length a multiple of `LANES`.
      key: ``[batch, source, key_value_heads, head_dim]``.
      value: as ``key``.
      segment_ids: ``[batch, length]`` int32; those of padding see each other.
      window: how many positions a query sees, its own included; ``None``: all.
      interpret: runs on any device, slowly.
      key_segment_ids: ``[batch, source]``, where keys are not those of the queries.
      place: ``(index, parts)``: keys are of whole rows, and queries those of their positions that
        the device of this index has, see `ocijax.model.context.shared_order`.

    Returns:
      ``[batch, length, heads, head_dim]``.
    """
    heads, head_dim = query.shape[2:]
    kernel = _kernel(key.shape[1], heads, window, interpret, place)
    scaled = query * jnp.asarray(head_dim**-0.5, query.dtype)
    fill = [(0, 0)] * 3 + [(0, -head_dim % LANES)]
    arrays = (jnp.pad(array, fill).swapaxes(1, 2) for array in (scaled, key, value))
    key_segment_ids = segment_ids if key_segment_ids is None else key_segment_ids
    segments = splash_attention_kernel.SegmentIds(segment_ids, key_segment_ids)
    context = jax.vmap(kernel)(*arrays, segments)
    return context.swapaxes(1, 2)[..., :head_dim]


def _kernel(
    length: int,
    heads: int,
    window: int | None,
    interpret: bool,
    place: tuple[jax.Array | int, int],
) -> splash_attention_kernel.SplashAttentionKernel:
    """The kernel for the queries of one device along the length of a row."""
    index, parts = place
    shape = (length, length)
    if window is None:
        mask = splash_attention_mask.CausalMask(shape)
    else:
        mask = splash_attention_mask.LocalMask(shape, (window - 1, 0), offset=0)
    mask.q_sequence = shared_order(length, parts).astype(np.int32)
    block = next(size for size in _BLOCKS if length // parts % size == 0)
    sizes = splash_attention_kernel.BlockSizes(*[block] * 8)
    kernel = splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=parts,
        residual_checkpoint_name=CONTEXT,
        interpret=interpret,
    )
    if parts == 1:
        return kernel

    def own(array: jax.Array) -> jax.Array:
        """What the kernel knows of this device's queries: ``[heads, blocks, ...]``, or of each."""
        axis = min(1, array.ndim - 1)
        size = array.shape[axis] // parts
        return jax.lax.dynamic_slice_in_dim(array, index * size, size, axis)

    return jax.tree.map(own, kernel)
