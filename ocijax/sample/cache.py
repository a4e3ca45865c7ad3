"""Keys and values of what was read, in slots that conversations take and leave.

Each layer has arrays of its own, so that a step updates them in place and copies none. A token's
place in its slot is its position.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from ocijax.model.config import ModelConfig
from ocijax.sample.quantization import quantize
from ocijax.sharding import named_sharding


class LayerCache(NamedTuple):
    """Keys and values of one layer, ``[slots, key_value_heads, places, head_dim]``.

    In eight bits they have a scale for each head of each token, see `ocijax.sample.quantization`.
    The last place of a slot is never read: rows at rest write there.

    Attributes:
      keys: in the compute dtype, or int8.
      values: likewise.
      key_scales: fp32, ``[slots, key_value_heads, places, 1]``; ``None`` but for int8.
      value_scales: likewise.
    """

    keys: jax.Array
    values: jax.Array
    key_scales: jax.Array | None = None
    value_scales: jax.Array | None = None


Cache = tuple[LayerCache, ...]
"""One for each layer."""


def abstract_cache(config: ModelConfig, dtype: str, mesh: Mesh, slots: int, places: int) -> Cache:
    """Shapes, dtypes and shardings of a cache, as `jax.ShapeDtypeStruct` leaves.

    Args:
      config: the model's shape.
      dtype: of keys and values; ``int8`` for those with scales.
      mesh: where they are.
      slots: how many.
      places: of each.
    """
    shape = slots, config.num_key_value_heads, places, config.head_dim
    sharding = _sharding(mesh, shape)
    array = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding)
    scale = jax.ShapeDtypeStruct((*shape[:3], 1), jnp.float32, sharding=sharding)
    layer = LayerCache(*[array] * 2, *[scale] * 2 if dtype == "int8" else ())
    return (layer,) * config.num_hidden_layers


def as_held(key: jax.Array, value: jax.Array, layer: LayerCache) -> LayerCache:
    """New keys and values ``[..., head_dim]`` as this layer holds them."""
    if layer.key_scales is None:
        return LayerCache(key, value)
    (key, key_scale), (value, value_scale) = quantize(key, -1), quantize(value, -1)
    return LayerCache(key, value, key_scale, value_scale)


def as_read(layer: LayerCache, dtype: str) -> tuple[jax.Array, jax.Array]:
    """Keys and values ``[..., head_dim]`` in the compute dtype."""
    if layer.key_scales is None:
        return layer.keys, layer.values
    keys, values = layer.keys * layer.key_scales, layer.values * layer.value_scales
    return keys.astype(dtype), values.astype(dtype)


@partial(jax.jit, static_argnames=("config", "dtype", "mesh", "slots", "places"))
def empty_cache(config: ModelConfig, dtype: str, mesh: Mesh, slots: int, places: int) -> Cache:
    """A cache in which nothing was read yet."""
    abstract = abstract_cache(config, dtype, mesh, slots, places)
    return pin(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract), mesh)


@partial(jax.jit, static_argnames=("mesh", "places"))
def grow(layer: LayerCache, *, mesh: Mesh, places: int) -> LayerCache:
    """One layer with so many places in a slot, no fewer than it has."""

    def grown(array: jax.Array) -> jax.Array:
        return jnp.pad(array, [(0, 0), (0, 0), (0, places - array.shape[2]), (0, 0)])

    [layer] = pin((jax.tree.map(grown, layer),), mesh)
    return layer


@partial(jax.jit, static_argnames=("mesh", "places"), donate_argnums=0)
def copy_slot(
    cache: Cache, source: jax.Array, target: jax.Array, *, mesh: Mesh, places: int
) -> Cache:
    """The cache with what the first places of one slot hold in those of another too."""

    def copied(array: jax.Array) -> jax.Array:
        _, heads, _, head_dim = array.shape
        row = jax.lax.dynamic_slice(array, (source, 0, 0, 0), (1, heads, places, head_dim))
        return jax.lax.dynamic_update_slice(array, row, (target, 0, 0, 0))

    return pin(jax.tree.map(copied, cache), mesh)


def pin(cache: Cache, mesh: Mesh) -> Cache:
    """The cache, sharded as it is to be."""
    sharding = _sharding(mesh, cache[0].keys.shape)
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), cache)


def _sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Slots over the batch axes, heads over ``tensor`` where it divides them."""
    return named_sharding(mesh, ("batch", "key_value_heads", "length", "head_dim"), shape)
