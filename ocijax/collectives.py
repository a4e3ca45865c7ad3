"""How a parameter that devices hold in parts becomes whole, and its gradient parts again."""

import math
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.sharding import is_split_by_hand, mesh_axes

Stage = tuple[str, tuple[tuple[int, ...], ...] | None]
"""A mesh axis, and the groups of indices along it that communicate; ``None``: all with all."""


def gather(array: jax.Array, axes: tuple[str, ...], mesh: Mesh) -> jax.Array:
    """The whole of a parameter; its gradient is summed over devices, each of which gets its part.

    Gradients leave as `jax.lax.psum_scatter`, stage by stage, see `stages`. For functions that are
    manual over the mesh axes that split the array.

    Args:
      array: this device's part, in the dtype to send.
      axes: one logical axis for each dimension.
      mesh: with its devices.
    """
    for dimension, axis in enumerate(axes):
        if is_split_by_hand(axis):
            names = tuple(name for name in mesh_axes(axis) if mesh.shape[name] > 1)
            steps = tuple(stage for name in names for stage in stages(mesh, name))
            array = _gather(array, dimension, names, steps)
    return array


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gather(
    array: jax.Array, dimension: int, names: tuple[str, ...], steps: tuple[Stage, ...]
) -> jax.Array:
    del steps
    return jax.lax.all_gather(array, names, axis=dimension, tiled=True)


def _forward(array, dimension, names, steps):
    return _gather(array, dimension, names, steps), None


def _backward(dimension, names, steps, residuals, gradient):
    del names, residuals
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


_gather.defvjp(_forward, _backward)


def stages(mesh: Mesh, name: str) -> tuple[Stage, ...]:
    """How to reduce-scatter along a mesh axis: at once, or on a TPU by one side of its torus each.

    Over more than one side at once, XLA makes of it an all-reduce of the whole array and a slice,
    which sends twice as much.
    """
    line = np.moveaxis(mesh.devices, mesh.axis_names.index(name), 0)
    line = line.reshape(line.shape[0], -1)[:, 0]
    if line[0].platform != "tpu":
        return ((name, None),)
    sizes = _sides(np.array([device.coords for device in line]))
    indices = np.arange(len(line)).reshape(sizes)
    groups = (np.moveaxis(indices, side, -1).reshape(-1, size) for side, size in enumerate(sizes))
    return tuple((name, tuple(map(tuple, group.tolist()))) for group in groups)


def _sides(coordinates: np.ndarray) -> tuple[int, ...]:
    """Sizes of a box, the last side innermost, along each side of which one coordinate changes.

    Args:
      coordinates: ``[devices, dimensions]`` in the order of the box.
    """
    sizes, rest = (), coordinates
    while len(rest) > 1:
        changed = np.logical_or.accumulate(rest != rest[0], axis=0).sum(axis=1)
        side = int((changed <= 1).sum())
        if side == 1 or len(rest) % side:
            side = len(rest)  # no box: all at once
        sizes, rest = (side, *sizes), rest[::side]
    return sizes
