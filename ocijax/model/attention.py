"""Causal attention over packed rows, and the rotary embedding of its queries and keys."""

import jax
import jax.numpy as jnp

from ocijax.model.config import ModelConfig


def rotate(array: jax.Array, positions: jax.Array, config: ModelConfig) -> jax.Array:
    """Rotary position embedding (RoFormer, arXiv 2104.09864), halves rotated as Llama does.

    Args:
      array: queries or keys, ``[batch, length, heads, head_dim]``.
      positions: ``[batch, length]`` int32; restart at zero in each packed segment.
      config: gives ``rope_theta`` and the linear scaling of positions.

    Returns:
      Same shape and dtype; angles and products are in fp32 or wider.
    """
    wide = jnp.promote_types(array.dtype, jnp.float32)
    exponents = jnp.arange(0, config.head_dim, 2, dtype=wide) / config.head_dim
    frequencies = 1.0 / (config.rope_theta**exponents) / config.rope_scaling_factor
    angles = positions[..., None, None].astype(wide) * frequencies
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    first, second = jnp.split(array.astype(wide), 2, axis=-1)
    rotated = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(rotated, axis=-1).astype(array.dtype)


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


def packed_mask(positions: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Causal mask within each segment of a packed row.

    Args:
      positions: ``[batch, length]`` int32, restarting at zero in each segment.
      segment_ids: ``[batch, length]`` int32; 0 is padding.

    Returns:
      ``[batch, length, length]`` bool.
    """
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    earlier = positions[:, :, None] >= positions[:, None, :]
    return same & earlier & (segment_ids[:, :, None] > 0)
