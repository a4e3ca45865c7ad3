import importlib.util
from dataclasses import dataclass

import jax
import pytest

from ocijax.devices import GIBIBYTE, bandwidth, memory_limit, peak_flops
from ocijax.errors import InputError
from ocijax.plan.topology import GPUS, AbsentGpu, find_devices

needs_libtpu = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"), reason="libtpu, which compiles for TPU, is absent"
)


@needs_libtpu
@pytest.mark.parametrize(
    ("topology", "count", "memory", "flops"),
    [
        ("v5e:8x8", 64, 15.75, 197e12),
        ("v5e:1x1", 1, 15.75, 197e12),
        ("v5p:4x4x4", 64, 95.74, 459e12),
        ("v6e:4x4", 16, 31.25, 918e12),
        ("tpu7x:2x2x1", 8, 94.75, 1153.5e12),  # two cores a chip
    ],
)
def test_a_tpu_is_named_by_its_chips_along_each_axis(topology, count, memory, flops):
    devices = find_devices(topology)
    assert len(devices) == count
    assert memory_limit(devices[0]) / GIBIBYTE == pytest.approx(memory)
    assert peak_flops(devices[0].device_kind, "bfloat16") == flops


@needs_libtpu
def test_slices_are_a_third_part_of_the_name():
    devices = find_devices("v5e:2x2:3")
    assert [device.slice_index for device in devices] == [0] * 4 + [1] * 4 + [2] * 4


def test_gpus_that_are_not_here_have_the_share_of_memory_that_jax_takes(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    devices = find_devices("h200:8")
    assert [device.device_kind for device in devices] == ["NVIDIA H200"] * 8
    assert memory_limit(devices[0]) / GIBIBYTE == pytest.approx(0.75 * 140.4, rel=1e-3)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    assert memory_limit(devices[0]) / GIBIBYTE == pytest.approx(0.9 * 140.4, rel=1e-3)


@pytest.mark.parametrize(
    ("device_kind", "flops", "speed"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12, 3.35e12),
        ("NVIDIA H100 NVL", 835e12, 3.9e12),
        ("NVIDIA H100 PCIe", 756e12, 2e12),
        ("NVIDIA GH200 480GB", 989e12, 4e12),
        ("NVIDIA H200", 989e12, 4.8e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None, None),
        ("NVIDIA H20", None, None),
    ],
)
def test_gpus_with_similar_names_are_told_apart(device_kind, flops, speed):
    assert peak_flops(device_kind, "bfloat16") == flops
    assert bandwidth(device_kind) == speed


@pytest.mark.parametrize("name", GPUS)
def test_gpus_that_topologies_are_made_of_are_known(name):
    (device,) = find_devices(f"{name}:1")
    assert peak_flops(device.device_kind, "bfloat16")
    assert memory_limit(device)


@dataclass(frozen=True)
class GpuHere(AbsentGpu):
    """A GPU of one of the run's processes; ours is the first."""

    def memory_stats(self) -> dict[str, int]:
        assert self.process_index == 0, "JAX tells it of a process's own devices only"
        return {"bytes_limit": GIBIBYTE}


def test_a_device_of_another_process_has_the_memory_of_ours(monkeypatch):
    both = [GpuHere(index, "NVIDIA H200", process_index=index) for index in range(2)]
    monkeypatch.setattr(jax, "devices", lambda: both)
    monkeypatch.setattr(jax, "local_devices", lambda: both[:1])
    assert [memory_limit(device) for device in both] == [GIBIBYTE] * 2


def test_without_a_name_it_is_this_machine():
    assert list(find_devices("")) == jax.devices()


@pytest.mark.parametrize(
    "topology",
    [
        "v9:2x2",
        "v5e:4",
        "v5p:8x8",
        "v5e:0x2",
        "h200:",
        "h200:2x2",
        "v5e:2x2:0",
        "v5e:2x2:",
        "h200:8:2",
        "v5e",
        "v5e:2x2:2:2",
    ],
)
def test_an_unknown_topology_is_refused_with_those_there_are(topology):
    with pytest.raises(InputError, match=r"is not known; name one as v5e:8x8, v5p:4x4x4, v6e:4x4"):
        find_devices(topology)


@needs_libtpu
def test_a_shape_that_libtpu_refuses_is_one_line():
    with pytest.raises(InputError, match=r"'v5e:3x3' is none of libtpu's: .*not divisible"):
        find_devices("v5e:3x3")


def test_without_libtpu_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ocijax\[tpu\]'"):
        find_devices("v5e:2x2")
