"""Attention by cuDNN's fused kernels: over packed rows, over whole ones, and to their first places.

JAX has no public function for packed rows, for keys with the heads before the positions, or for the
sums' logarithms in fp32; the one behind `jax.nn.dot_product_attention` has.
"""

import jax
import jax.numpy as jnp
from jax._src.cudnn.fused_attention_stablehlo import MaskType, dot_product_attention
from jax.sharding import Mesh

from ocijax.model.config import ModelConfig
from ocijax.sharding import axis_size


def is_for_cudnn(config: ModelConfig, dtype: str, mesh: Mesh) -> bool:
    """Whether `cudnn_attention_to_first` runs on the devices of a mesh, and is all that is needed.

    Args:
      config: the model's shape.
      dtype: of queries, keys and values.
      mesh: over whose ``tensor`` axis the heads are split.
    """
    device = mesh.devices.flat[0]
    if device.platform != "gpu" or dtype not in ("bfloat16", "float16"):
        return False
    # A sliding window counts from each query, but the same places are for all.
    whole = config.sliding_window is None and config.head_dim in (64, 128)
    split = config.num_key_value_heads % axis_size(mesh, "key_value_heads") == 0
    return whole and split and float(device.compute_capability) >= 8.0


def segment_bounds(segment_ids: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Where the segments of each row begin and how long they are, padding being one too.

    Args:
      segment_ids: ``[batch, length]`` int32.
      most: segments in a row, padding counted.

    Returns:
      ``(starts [batch, most + 1], lengths [batch, most])`` int32, -1 where there are fewer.
    """
    length = segment_ids.shape[1]
    begins = segment_ids != jnp.roll(segment_ids, 1, axis=1)
    begins = begins.at[:, 0].set(True)

    def starts_of(row: jax.Array) -> jax.Array:
        return jnp.nonzero(row, size=most + 1, fill_value=length)[0].astype(jnp.int32)

    starts = jax.vmap(starts_of)(begins)
    lengths = jnp.diff(starts)
    return jnp.where(starts < length, starts, -1), jnp.where(lengths > 0, lengths, -1)


def cudnn_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    starts: jax.Array,
    lengths: jax.Array,
    window: int | None,
) -> jax.Array:
    """Causal grouped-query attention within each segment of packed rows.

    Args:
      query: ``[batch, length, heads, head_dim]`` in bfloat16 or float16.
      key: ``[batch, length, key_value_heads, head_dim]``.
      value: as ``key``.
      starts: as `segment_bounds` gives them.
      lengths: likewise.
      window: how many positions a query sees, its own included; ``None``: all.

    Returns:
      ``[batch, length, heads, head_dim]``; wrong behind the segments that ``starts`` has room for.
    """
    offsets = starts.at[:, -1].set(-1)
    return dot_product_attention(
        query,
        key,
        value,
        q_seqlen=lengths,
        kv_seqlen=lengths,
        q_offsets=offsets,
        kv_offsets=offsets,
        scale=query.shape[-1] ** -0.5,
        mask_type=MaskType.PADDING_CAUSAL,
        sliding_window_length=window,
    )


def cudnn_causal_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, window: int | None, residual: bool = False
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """`cudnn_attention` over rows of one segment each, with padding behind it, if at all.

    With ``residual`` also the logarithm of the sum of the exponentiated scores, fp32
    ``[batch, heads, length]``.
    """
    return dot_product_attention(
        query,
        key,
        value,
        scale=query.shape[-1] ** -0.5,
        mask_type=MaskType.CAUSAL,
        sliding_window_length=window,
        return_residual=residual,
    )


def cudnn_attention_to_first(
    query: jax.Array, keys: jax.Array, values: jax.Array, lengths: jax.Array, residual: bool = False
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Grouped-query attention of all queries of a row to the same first places.

    Args:
      query: ``[batch, heads, length, head_dim]`` in bfloat16 or float16.
      keys: ``[batch, key_value_heads, places, head_dim]``.
      values: as ``keys``.
      lengths: ``[batch]`` int32, how many places are looked at, at least one.
      residual: whether the logarithms are wanted too.

    Returns:
      As ``query``, and with ``residual`` also the logarithm of the sum of the exponentiated scores,
      fp32 ``[batch, heads, length]``.
    """
    return dot_product_attention(
        query,
        keys,
        values,
        q_seqlen=jnp.full_like(lengths, query.shape[2]),
        kv_seqlen=lengths,
        scale=query.shape[-1] ** -0.5,
        mask_type=MaskType.PADDING,
        qkv_layout="BNTH",
        return_residual=residual,
    )
