"""Rotates queries and keys and writes keys and values to their slots, by one kernel on Hopper.

XLA makes three of it in each layer. With few tokens a kernel takes as long to begin and to end as
to do its work.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.sharding import Mesh

from ocijax.model.config import ModelConfig

_NUMBERS = 512
"""Most that one program is for: of more, its threads would be given others in another dtype."""
_THREADS = 128
"""Of a program."""


def is_for_mosaic(config: ModelConfig, dtype: str, mesh: Mesh) -> bool:
    """Whether `rotate_and_write` runs on the devices of a mesh, which is to be of one.

    Args:
      config: the model's shape.
      dtype: of keys and values in the cache.
      mesh: of the devices.
    """
    device = mesh.devices.flat[0]
    if device.platform != "gpu" or device.compute_capability != "9.0" or mesh.size > 1:
        return False
    if config.head_dim not in (64, 128, 256) or dtype not in ("bfloat16", "float16"):
        return False
    # Halves of heads are divided among threads.
    half = _heads_of_program(config.num_key_value_heads, config.head_dim) * config.head_dim // 2
    return half % _THREADS == 0


@jax.jit
def rotate_and_write(
    joined: jax.Array,
    angles: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    places: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotary position embedding as `ocijax.model.rotary.rotate`, and what is new written.

    Jitted, so that layers that are alike share one kernel.

    Args:
      joined: ``[at least slots * width, heads + 2 * key_value_heads, head_dim]``, query, key and
        value of each token of each slot, not rotated yet, as one product gives them.
      angles: ``[slots, width, head_dim // 2]`` fp32, see `ocijax.model.rotary.angles`.
      keys: ``[slots, key_value_heads, places, head_dim]``, rotated.
      values: as ``keys``.
      places: ``[slots]`` int32, where the first new one of each slot is written.

    Returns:
      The query ``[slots, width, heads, head_dim]``, rotated, and the keys and values; these in
      place, where what was given is not needed any more.
    """
    slots, width, _ = angles.shape
    _, key_value_heads, _, head_dim = keys.shape
    heads = joined.shape[1] - 2 * key_value_heads
    together = _heads_of_program(key_value_heads, head_dim)
    turns = jnp.repeat(angles[:, :, None], together, axis=2)
    keys, values = (jax.new_ref(array, memory_space=plgpu.GMEM) for array in (keys, values))
    query = pl.kernel(
        _rotate_and_write,
        out_type=jax.ShapeDtypeStruct((slots, width, heads, head_dim), joined.dtype),
        mesh=plgpu.Mesh(
            grid=(slots, width, joined.shape[1] // together), grid_names=("slot", "index", "tile")
        ),
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Lane),
    )(joined, jnp.cos(turns), jnp.sin(turns), keys, values, places)
    return query, jax.freeze(keys), jax.freeze(values)


def _rotate_and_write(joined, cosines, sines, keys, values, places, queries):
    """The kernel, of some heads of a token's query, key or value."""
    slot, index, tile = (lax.axis_index(name) for name in ("slot", "index", "tile"))
    width, together, half = cosines.shape[1:]
    heads, key_value_heads = queries.shape[2], keys.shape[1]
    halves = pl.ds(0, half), pl.ds(half, half)
    head, place, token = tile * together, places[slot] + index, slot * width + index
    given = [joined[token, pl.ds(head, together), part] for part in halves]
    cosine, sine = cosines[slot, index], sines[slot, index]
    first, second = (array.astype(jnp.float32) for array in given)
    rotated = first * cosine - second * sine, second * cosine + first * sine
    rotated = [array.astype(keys.dtype) for array in rotated]

    @pl.when(head < heads)
    def _():
        for part, array in zip(halves, rotated, strict=True):
            queries[slot, index, pl.ds(head, together), part] = array

    @pl.when((head >= heads) & (head < heads + key_value_heads))
    def _():
        for part, array in zip(halves, rotated, strict=True):
            keys[slot, pl.ds(head - heads, together), place, part] = array

    @pl.when(head >= heads + key_value_heads)
    def _():
        for part, array in zip(halves, given, strict=True):
            values[slot, pl.ds(head - heads - key_value_heads, together), place, part] = array


def _heads_of_program(key_value_heads: int, head_dim: int) -> int:
    """As many as all are a multiple of."""
    return math.gcd(key_value_heads, _NUMBERS // head_dim)
