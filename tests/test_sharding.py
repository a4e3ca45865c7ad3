import re
from dataclasses import dataclass

import jax
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec

from ocijax.errors import InputError
from ocijax.plan.topology import AbsentGpu
from ocijax.sharding import MESH_AXES, MeshConfig, axis_size, make_mesh, named_sharding

HIDDEN = ("fsdp", "context")


def abstract_mesh(**sizes):
    """A mesh of devices that are not there: enough to ask where arrays would live."""
    return jax.sharding.AbstractMesh(
        tuple(sizes.get(axis, 1) for axis in MESH_AXES),
        MESH_AXES,
        axis_types=(AxisType.Auto,) * len(MESH_AXES),
    )


def test_one_size_is_what_the_others_leave():
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1, tensor=1))
    assert isinstance(mesh, Mesh)
    assert mesh.shape["fsdp"] == jax.device_count()


@pytest.mark.parametrize("config", [MeshConfig(fsdp=3), MeshConfig(data=5), MeshConfig(tensor=7)])
def test_a_mesh_that_does_not_divide_the_devices_is_refused(config):
    with pytest.raises(InputError, match=r"^mesh data=.* does not divide the 1 devices here"):
        make_mesh(config, jax.devices()[:1])


@pytest.mark.parametrize("config", [MeshConfig(-1, -1), MeshConfig(data=0), MeshConfig(data=-2)])
def test_sizes_that_mean_nothing_are_refused(config):
    with pytest.raises(InputError, match="sizes are positive, and at most one is -1"):
        make_mesh(config)


def test_slices_lie_along_data(chips):
    devices = chips("v5e:2x4", num_slices=2)
    mesh = make_mesh(MeshConfig(data=4, fsdp=-1), devices)
    slices = [[device.slice_index for device in row] for row in mesh.devices[:, :, 0, 0]]
    assert slices == [[0] * 4, [0] * 4, [1] * 4, [1] * 4]
    with pytest.raises(InputError, match="data must be a multiple of the 2 slices here"):
        make_mesh(MeshConfig(data=1, fsdp=-1), devices)


@dataclass(frozen=True)
class GpuOfAHost(AbsentGpu):
    """As JAX has those of several hosts, each of which is a slice to it."""

    slice_index: int = 0


def test_parameters_are_split_over_gpus_of_several_hosts():
    devices = [GpuOfAHost(index, "NVIDIA H200", slice_index=index // 8) for index in range(16)]
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1), devices)
    assert mesh.devices.ravel().tolist() == devices
    assert mesh.shape["fsdp"] == 16


def test_batch_is_split_over_data_and_fsdp():
    mesh = abstract_mesh(data=2, fsdp=4)
    assert axis_size(mesh, "batch") == 8
    spec = named_sharding(mesh, ("batch", "length")).spec
    assert spec == PartitionSpec(("data", "fsdp"), "context")


def test_key_value_heads_that_the_mesh_does_not_divide_are_held_whole():
    mesh = abstract_mesh(tensor=4)
    axes = ("hidden", "key_value_heads", "head_dim")
    assert named_sharding(mesh, axes, (8, 2, 4)).spec == PartitionSpec(HIDDEN, None, None)
    assert named_sharding(mesh, axes, (8, 4, 4)).spec == PartitionSpec(HIDDEN, "tensor", None)


def test_another_dimension_that_the_mesh_does_not_divide_is_refused_by_name():
    message = re.escape("mesh axis tensor of 4 devices does not divide the 6 of heads")
    with pytest.raises(InputError, match=message):
        named_sharding(abstract_mesh(tensor=4), ("hidden", "heads", "head_dim"), (8, 6, 4))
