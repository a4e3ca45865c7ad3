"""Causal attention over packed rows, in a sliding window where the model has one."""

import jax
import jax.numpy as jnp


def masked_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array
) -> jax.Array:
    """Grouped-query attention under a boolean mask; softmax in fp32 or wider.

    Args:
      query: ``[batch, length, heads, head_dim]``.
      key: ``[batch, source, key_value_heads, head_dim]``.
      value: as ``key``.
      mask: ``[batch, length, source]`` bool, true where the query may look.

    Returns:
      ``[batch, length, heads, head_dim]``; rows that may look nowhere give finite values.
    """
    batch, length, heads, head_dim = query.shape
    groups = key.shape[2]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # Heads before positions: products over the last two dimensions need no transposed copies.
    query = query.reshape(batch, length, groups, heads // groups, head_dim)
    query = query.transpose(0, 2, 3, 1, 4)
    key, value = key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bgrld,bgsd->bgrls", query, key, preferred_element_type=wide)
    scores = scores * jnp.asarray(head_dim**-0.5, wide)
    scores = jnp.where(mask[:, None, None], scores, jnp.finfo(wide).min)
    # The softmax is divided after the product, where there is less to divide.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    context = jnp.einsum(
        "bgrls,bgsd->bgrld", weights.astype(query.dtype), value, preferred_element_type=wide
    )
    context = context / weights.sum(axis=-1)[..., None]
    context = context.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, head_dim)
    return context.astype(query.dtype)


def visible(query_positions: jax.Array, key_positions: jax.Array, window: int | None) -> jax.Array:
    """Where a query may look: at its own position and before, no further back than the window.

    Args:
      query_positions: ``[..., length]`` integers.
      key_positions: ``[..., source]`` integers.
      window: how many positions a query sees, its own included; ``None``: all.

    Returns:
      ``[..., length, source]`` bool.
    """
    distance = query_positions[..., :, None] - key_positions[..., None, :]
    causal = distance >= 0
    return causal if window is None else causal & (distance < window)


def packed_mask(
    positions: jax.Array,
    segment_ids: jax.Array,
    window: int | None,
    key_positions: jax.Array | None = None,
    key_segment_ids: jax.Array | None = None,
) -> jax.Array:
    """Causal mask within each segment of a packed row.

    Args:
      positions: ``[batch, length]`` int32, restarting at zero in each segment.
      segment_ids: ``[batch, length]`` int32; 0 is padding.
      window: as for `visible`.
      key_positions: ``[batch, source]``, where keys are not those of the queries.
      key_segment_ids: likewise.

    Returns:
      ``[batch, length, source]`` bool.
    """
    key_positions = positions if key_positions is None else key_positions
    key_segment_ids = segment_ids if key_segment_ids is None else key_segment_ids
    same = segment_ids[:, :, None] == key_segment_ids[:, None, :]
    return same & visible(positions, key_positions, window) & (segment_ids[:, :, None] > 0)
