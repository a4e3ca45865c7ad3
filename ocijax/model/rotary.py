"""Rotary position embedding of queries and keys, and the scalings that stretch it."""

import math

import jax
import jax.numpy as jnp

from ocijax.model.config import ModelConfig


def rotate(array: jax.Array, positions: jax.Array, config: ModelConfig) -> jax.Array:
    """Rotary position embedding (RoFormer, arXiv 2104.09864), halves rotated as Llama does.

    Args:
      array: queries or keys, ``[batch, length, heads, head_dim]``.
      positions: ``[batch, length]`` int32; restart at zero in each packed segment.
      config: gives the frequencies.

    Returns:
      Same shape and dtype; angles and products are in fp32 or wider.
    """
    wide = jnp.promote_types(array.dtype, jnp.float32)
    turns = angles(positions[..., None], config, wide)
    sine, cosine = jnp.sin(turns), jnp.cos(turns)
    first, second = jnp.split(array.astype(wide), 2, axis=-1)
    rotated = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(rotated, axis=-1).astype(array.dtype)


def angles(positions: jax.Array, config: ModelConfig, dtype: jnp.dtype) -> jax.Array:
    """By which pairs of a head are rotated, in radians, ``[*positions, head_dim // 2]``."""
    return positions[..., None].astype(dtype) * frequencies(config, dtype)


def frequencies(config: ModelConfig, dtype: jnp.dtype) -> jax.Array:
    """Angles per position of each pair of a head, in radians, ``[head_dim // 2]``."""
    exponents = jnp.arange(0, config.head_dim, 2, dtype=dtype) / config.head_dim
    plain = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    stretched = plain / scaling.factor
    if scaling.rope_type == "linear":
        return stretched
    # Llama 3: by how often a frequency turns over the context that was trained first.
    turns = plain * scaling.original_max_position_embeddings / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = jnp.clip((turns - low) / (high - low), 0, 1)
    return kept * plain + (1 - kept) * stretched
