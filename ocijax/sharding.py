"""Where arrays live: the one map from logical axes to mesh axes, and the mesh itself.

A mesh axis must divide the dimensions that it splits: what it does not divide is refused by name,
except for the axes of `REPLICABLE`, which every device along that mesh axis then holds whole.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ocijax.errors import InputError

MESH_AXES = ("data", "fsdp", "context", "tensor")

BY_HAND = ("data", "fsdp", "context")
"""Mesh axes that the train step is manual over (`jax.shard_map`): what is gathered or summed over
them, and when, is written in `ocijax.train.gradient`. Over ``tensor`` the compiler splits."""

RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "length": "context",
    "layers": None,
    "vocab": "tensor",
    # Devices along `context` have the same parameters to hold, so they share them too.
    "hidden": ("fsdp", "context"),
    "heads": "tensor",
    "key_value_heads": "tensor",
    "head_dim": None,
    "intermediate": "tensor",
    "rank": None,
    # Activations keep their width whole: only parameters are split there.
    "width": None,
}

REPLICABLE = frozenset({"key_value_heads"})
"""Logical axes held whole where the mesh does not divide them: grouped-query attention often has
fewer key and value heads than a mesh has devices along ``tensor``, and they are small."""


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1: what the others leave."""

    data: int = -1
    fsdp: int = 1
    context: int = 1
    tensor: int = 1


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of `MESH_AXES` over all devices, or those given.

    Slices of a TPU, which only the data-centre network joins, lie along ``data``: what crosses
    between them is the sum of gradients, once a step.

    Raises:
      InputError: the sizes do not divide the devices, or the slices do not divide ``data``.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [getattr(config, axis) for axis in MESH_AXES]
    wanted = " x ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
        raise InputError(f"mesh {wanted}: sizes are positive, and at most one is -1")
    known = math.prod(size for size in sizes if size != -1)
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        raise InputError(
            f"mesh {wanted} does not divide the {len(devices)} devices here; "
            "set --config.mesh so that the product is that number, or one size to -1"
        )
    sizes = [len(devices) // known if size == -1 else size for size in sizes]
    slices = len({_slice(device) for device in devices})
    if sizes[0] % slices:
        raise InputError(
            f"mesh {wanted}: data must be a multiple of the {slices} slices here; set "
            "--config.mesh.data"
        )
    if slices > 1:
        shape = sizes[0] // slices, *sizes[1:]
        layout = mesh_utils.create_hybrid_device_mesh(
            shape, (slices, 1, 1, 1), devices, allow_split_physical_axes=True
        )
    else:
        layout = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(layout, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _slice(device: jax.Device) -> int:
    """Which slice of a TPU it belongs to; of GPUs the same attribute tells only the host."""
    return getattr(device, "slice_index", 0) if device.platform == "tpu" else 0


def partition_spec(axes: tuple[str, ...]) -> PartitionSpec:
    """The mesh axes of an array with these logical axes."""
    return PartitionSpec(*(RULES[axis] for axis in axes))


def named_sharding(
    mesh: Mesh, axes: tuple[str, ...], shape: tuple[int, ...] | None = None
) -> NamedSharding:
    """The sharding of an array with these logical axes on this mesh.

    Args:
      mesh: as `make_mesh` gives it.
      axes: one logical axis for each dimension.
      shape: the array's, to check that the mesh divides it; ``None`` takes that for granted.

    Raises:
      InputError: the mesh does not divide a dimension that is not `REPLICABLE`.
    """
    spec = list(partition_spec(axes))
    for dimension, size in enumerate(shape or ()):
        parts = axis_size(mesh, axes[dimension])
        if size % parts == 0:
            continue
        if axes[dimension] not in REPLICABLE:
            raise InputError(
                f"mesh axis {spec[dimension]} of {parts} devices does not divide the {size} of "
                f"{axes[dimension]}; choose another --config.mesh or another size"
            )
        spec[dimension] = None
    return NamedSharding(mesh, PartitionSpec(*spec))


def mesh_axes(axis: str) -> tuple[str, ...]:
    """The mesh axes that split a logical axis."""
    names = RULES[axis] or ()
    return (names,) if isinstance(names, str) else names


def axis_size(mesh: Mesh, axis: str) -> int:
    """Into how many parts this mesh splits a logical axis."""
    return math.prod(mesh.shape[name] for name in mesh_axes(axis))


def only(spec: PartitionSpec, axes: Collection[str]) -> PartitionSpec:
    """The part of a spec that names these mesh axes."""

    def kept(entry):
        names = (entry,) if isinstance(entry, str) else entry or ()
        return tuple(name for name in names if name in axes) or None

    return PartitionSpec(*map(kept, spec))


def is_split_by_hand(axis: str) -> bool:
    """Whether the function being traced is manual over several devices along a logical axis."""
    mesh = jax.sharding.get_abstract_mesh()
    return any(name in mesh.manual_axes and mesh.shape[name] > 1 for name in mesh_axes(axis))


def runs_on_tpu() -> bool:
    """Whether the function being traced is for a mesh of TPUs; where no mesh is set, it is not."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device is not None and device.platform == "tpu"


def constrain(array: jax.Array, *axes: str) -> jax.Array:
    """Pins an activation to its logical axes where a mesh is set; elsewhere does nothing.

    A mesh is set by `jax.set_mesh`, or inside a jitted function by
    `jax.sharding.use_abstract_mesh` or `jax.shard_map`, whose manual axes are left alone.
    """
    automatic = _automatic_axes()
    if not automatic:
        return array
    return jax.lax.with_sharding_constraint(array, _spec_over(automatic, axes, array.shape))


def on_parts(function: Callable[[jax.Array], jax.Array], array: jax.Array, *axes: str) -> jax.Array:
    """Runs collectives of a function that is manual over some axes on what others split as well.

    Left to it, the compiler would make the array whole over those first.

    Args:
      function: keeps the dimensions that they split.
      array: with one dimension for each of the ``axes``.
    """
    automatic = _automatic_axes()
    if not automatic:
        return function(array)
    spec = _spec_over(automatic, axes, array.shape)
    return jax.shard_map(
        function, in_specs=spec, out_specs=spec, axis_names=automatic, check_vma=False
    )(array)


def _automatic_axes() -> set[str]:
    mesh = jax.sharding.get_abstract_mesh()
    return set(mesh.axis_names) - set(mesh.manual_axes)


def _spec_over(mesh_axes: set[str], axes: tuple[str, ...], shape: tuple[int, ...]) -> PartitionSpec:
    """How these mesh axes split an array, what is `REPLICABLE` only where they divide it."""
    mesh = jax.sharding.get_abstract_mesh()
    entries = zip(axes, shape, only(partition_spec(axes), mesh_axes), strict=True)
    return PartitionSpec(
        *(
            None if axis in REPLICABLE and size % axis_size(mesh, axis) else entry
            for axis, size, entry in entries
        )
    )


def bytes_on_a_device(tree: Any) -> int:
    """Bytes that each device holds of arrays, abstract ones too, padding not counted."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
