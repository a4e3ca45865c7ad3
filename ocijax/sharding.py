"""Where arrays live: the one map from logical axes to mesh axes, and the mesh itself."""

from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MESH_AXES = ("data", "fsdp", "tensor")

RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "length": None,
    "layers": None,
    "vocab": "tensor",
    "hidden": "fsdp",
    "heads": "tensor",
    "key_value_heads": "tensor",
    "head_dim": None,
    "intermediate": "tensor",
    # Activations keep their width whole: only parameters are split over `fsdp`.
    "width": None,
}


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1: what the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of `MESH_AXES` over all devices, or those given.

    Raises:
      ValueError: the sizes do not divide the devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [getattr(config, axis) for axis in MESH_AXES]
    wanted = " x ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
        raise ValueError(f"mesh {wanted}: sizes are positive, and at most one is -1")
    known = 1
    for size in sizes:
        known *= 1 if size == -1 else size
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        raise ValueError(f"mesh {wanted} does not divide the {len(devices)} devices here")
    sizes = [len(devices) // known if size == -1 else size for size in sizes]
    return jax.make_mesh(
        sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES), devices=devices
    )


def partition_spec(axes: tuple[str, ...]) -> PartitionSpec:
    """The mesh axes of an array with these logical axes."""
    return PartitionSpec(*(RULES[axis] for axis in axes))


def named_sharding(mesh: Mesh, axes: tuple[str, ...]) -> NamedSharding:
    """The sharding of an array with these logical axes on this mesh."""
    return NamedSharding(mesh, partition_spec(axes))


def constrain(array: jax.Array, *axes: str) -> jax.Array:
    """Pins an activation to its logical axes where a mesh is set (`jax.set_mesh`); else nothing."""
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, partition_spec(axes))
