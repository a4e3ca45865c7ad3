"""How a parameter that devices hold in parts becomes whole, and its gradient parts again."""

import math
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.sharding import is_split_by_hand, mesh_axes, on_parts

Stage = tuple[str, tuple[tuple[int, ...], ...] | None]
"""A mesh axis, and the groups of indices along it that communicate; ``None``: all with all."""


def gather(array: jax.Array, axes: tuple[str, ...], mesh: Mesh) -> jax.Array:
    """The whole of a parameter; its gradient is summed over devices, each of which gets its part.

    For functions that are manual over the mesh axes that split it.

    Args:
      array: this device's part, in the dtype to send.
      axes: one logical axis for each dimension.
      mesh: with its devices.
    """
    for dimension, axis in enumerate(axes):
        if is_split_by_hand(axis):
            names = (name for name in mesh_axes(axis) if mesh.shape[name] > 1)
            steps = tuple(stage for name in names for stage in stages(mesh, name))
            whole = partial(gather_in_stages, dimension, steps)
            array = on_parts(whole, array, *axes)
    return array


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def gather_in_stages(dimension: int, steps: tuple[Stage, ...], array: jax.Array) -> jax.Array:
    """The whole of an array split in one dimension, by the stages from the last to the first."""
    return _forward(dimension, steps, array)[0]


def _forward(dimension: int, steps: tuple[Stage, ...], array: jax.Array):
    for name, groups in reversed(steps):
        array = jax.lax.all_gather(
            array, name, axis=dimension, tiled=True, axis_index_groups=groups
        )
    return array, None


def _backward(dimension: int, steps: tuple[Stage, ...], _: None, gradient: jax.Array):
    shape = gradient.shape
    before, after = math.prod(shape[:dimension]), math.prod(shape[dimension + 1 :])
    for name, groups in steps:
        parts = len(groups[0]) if groups else jax.lax.axis_size(name)
        # The parts as a dimension of their own: where they are slices of one, XLA pads them on TPU
        # and sends what lies across their borders again.
        gradient = gradient.reshape(before, parts, -1, after)
        gradient = jax.lax.psum_scatter(
            gradient, name, scatter_dimension=1, axis_index_groups=groups
        )
    return (gradient.reshape(*shape[:dimension], -1, *shape[dimension + 1 :]),)


gather_in_stages.defvjp(_forward, _backward)


def stages(mesh: Mesh, name: str) -> tuple[Stage, ...]:
    """How to gather and scatter along a mesh axis: on a TPU by one side of its torus each.

    Over several sides at once, XLA makes of a reduce-scatter, and on three sides of a gather too,
    an all-reduce of the whole array, which sends twice as much.
    """
    line = np.moveaxis(mesh.devices, mesh.axis_names.index(name), 0)
    line = line.reshape(line.shape[0], -1)[:, 0]
    if line[0].platform != "tpu":
        return ((name, None),)
    return along_sides(name, box(np.array([device.coords for device in line])))


def along_sides(name: str, sizes: tuple[int, ...]) -> tuple[Stage, ...]:
    """The stages along an axis whose devices are a box of these sizes, the last side innermost."""
    indices = np.arange(math.prod(sizes)).reshape(sizes)
    groups = (np.moveaxis(indices, side, -1).reshape(-1, size) for side, size in enumerate(sizes))
    return tuple((name, tuple(map(tuple, group.tolist()))) for group in groups)


def box(coordinates: np.ndarray) -> tuple[int, ...]:
    """Sizes of the box that devices fill in their order: along a side, one coordinate changes.

    Args:
      coordinates: ``[devices, dimensions]``.
    """
    sizes, rest = (), coordinates
    while len(rest) > 1:
        changed = np.logical_or.accumulate(rest != rest[0], axis=0).sum(axis=1)
        side = int((changed <= 1).sum())
        if side == 1 or len(rest) % side:
            side = len(rest)  # They fill none.
        sizes, rest = (side, *sizes), rest[::side]
    return sizes
