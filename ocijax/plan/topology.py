"""Devices by the name of their topology, whether or not they are here."""

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.experimental import topologies

from ocijax.errors import InputError

TPUS = {"v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}
"""Kinds of TPU, with how many axes their chips are wired along."""

GPUS = {
    "a100": "NVIDIA A100-SXM4-80GB",
    "h100": "NVIDIA H100 80GB HBM3",
    "h200": "NVIDIA H200",
    "b200": "NVIDIA B200",
}
"""Kinds of GPU, with their `jax.Device.device_kind`: those that servers of eight have."""

_LIBTPU_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
}
"""What libtpu reads when it is loaded: it is to compile beside other processes that do, not to look
for chips and complain that it finds none."""

_SPELLING = (
    "v5e:8x8, v5p:4x4x4, v6e:4x4, tpu7x:4x4x4 (chips along each axis), v5e:8x8:2 (two slices) or "
    "h100:8, h200:8"
)


@dataclass(frozen=True)
class AbsentGpu:
    """Stands for a GPU that is not here, where only shapes and kinds are asked for.

    Attributes:
      id: its place among those of the topology.
      device_kind: as `jax.Device` has it; ``platform`` and the rest likewise.
    """

    id: int
    device_kind: str
    platform: str = "gpu"
    process_index: int = 0
    compute_capability: str = "9.0"


Devices = Sequence[jax.Device] | Sequence[AbsentGpu]


def find_devices(topology: str) -> Devices:
    """The devices of a topology.

    Those of a TPU are compiled for by libtpu on any machine, and run nothing; GPUs that are not
    here are `AbsentGpu`.

    Example::

      mesh = make_mesh(MeshConfig(fsdp=-1, data=1), find_devices("v5e:8x8"))

    Args:
      topology: a kind and the chips along each axis (``v5e:8x8``), and slices if there are several
        (``v5e:8x8:2``); a kind of GPU and how many (``h200:8``); or empty: the devices of this
        machine.

    Raises:
      InputError: there is no such topology, or libtpu is missing.
    """
    if not topology:
        return jax.devices()
    for name, value in _LIBTPU_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    kind, shape, *slices = topology.split(":") if ":" in topology else (topology, "")
    numbers = re.fullmatch(r"\d+(x\d+)*(:\d+)?", ":".join([shape, *slices]))
    sizes = [int(size) for size in shape.split("x")] if numbers else []
    count = int(slices[0]) if numbers and slices else 1
    if kind in TPUS and len(sizes) == TPUS[kind] and all(sizes) and count:
        return _tpus(f"{kind}:{shape}", sizes, count)
    if kind in GPUS and len(sizes) == 1 and sizes[0] and not slices:
        return _gpus(GPUS[kind], sizes[0])
    raise InputError(f"topology {topology!r} is not known; name one as {_SPELLING}")


def _tpus(topology: str, sizes: list[int], slices: int) -> Sequence[jax.Device]:
    if not importlib.util.find_spec("libtpu"):
        raise InputError(
            f"topology {topology!r} is compiled for by libtpu: pip install 'ocijax[tpu]'"
        )
    # A host has 2 x 2 chips, and fewer where the slice is thinner.
    host = [*(min(size, 2) for size in sizes[:2]), 1]
    try:
        found = topologies.get_topology_desc(
            topology, "tpu", chips_per_host_bounds=host, num_slices=slices
        )
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0].partition(": ")[2]
        raise InputError(f"topology {topology!r} is none of libtpu's: {reason}") from error
    return found.devices


def _gpus(kind: str, count: int) -> Devices:
    here = [device for device in jax.devices() if device.device_kind == kind]
    if len(here) >= count:
        return here[:count]
    capability = "8.0" if "A100" in kind else "9.0"
    return [AbsentGpu(index, kind, compute_capability=capability) for index in range(count)]
