"""Where arrays live: the one map from logical axes to mesh axes, and the mesh itself.

A mesh axis must divide the dimensions that it splits: what it does not divide is refused by name,
except for the axes of `REPLICABLE`, which every device along that mesh axis then holds whole.
"""

import math
from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ocijax.errors import InputError

MESH_AXES = ("data", "fsdp", "tensor")

RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "length": None,
    "layers": None,
    "micro_batches": None,
    "vocab": "tensor",
    "hidden": "fsdp",
    "heads": "tensor",
    "key_value_heads": "tensor",
    "head_dim": None,
    "intermediate": "tensor",
    "rank": None,
    # Activations keep their width whole: only parameters are split over `fsdp`.
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
    tensor: int = 1


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of `MESH_AXES` over all devices, or those given.

    Raises:
      InputError: the sizes do not divide the devices.
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
    return jax.make_mesh(
        sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES), devices=devices
    )


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


def axis_size(mesh: Mesh, axis: str) -> int:
    """Into how many parts this mesh splits a logical axis."""
    names = RULES[axis] or ()
    names = (names,) if isinstance(names, str) else names
    return math.prod(mesh.shape[name] for name in names)


def constrain(array: jax.Array, *axes: str) -> jax.Array:
    """Pins an activation to its logical axes where a mesh is set; elsewhere does nothing.

    A mesh is set by `jax.set_mesh`, or inside a jitted function by
    `jax.sharding.use_abstract_mesh`.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, partition_spec(axes))
