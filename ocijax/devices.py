"""What a device can do and hold, by its kind."""

import os
from dataclasses import dataclass

import jax

from ocijax.errors import InputError

GIBIBYTE = 2**30


@dataclass(frozen=True)
class DeviceKind:
    """One row of the table.

    Attributes:
      peak_flops: dense bf16 operations a second, from the maker's data sheet.
      memory: bytes in all on a GPU; on a TPU those that its compiler gives to programs.
      bandwidth: bytes a second of that memory, from the maker's data sheet.
    """

    peak_flops: float
    memory: int
    bandwidth: float


_MEBIBYTE = 2**20

DEVICE_KINDS = {
    "NVIDIA A100-PCIE-40GB": DeviceKind(312e12, 40 * GIBIBYTE, 1.555e12),
    "NVIDIA A100-SXM4-40GB": DeviceKind(312e12, 40 * GIBIBYTE, 1.555e12),
    "NVIDIA A100 80GB PCIe": DeviceKind(312e12, 80 * GIBIBYTE, 1.935e12),
    "NVIDIA A100-SXM4-80GB": DeviceKind(312e12, 80 * GIBIBYTE, 2.039e12),
    "NVIDIA H100 PCIe": DeviceKind(756e12, 81559 * _MEBIBYTE, 2e12),
    "NVIDIA H100 NVL": DeviceKind(835e12, 95830 * _MEBIBYTE, 3.9e12),
    "NVIDIA H100 80GB HBM3": DeviceKind(989e12, 81559 * _MEBIBYTE, 3.35e12),
    # The first two are named by the memory of their CPU.
    "NVIDIA GH200 120GB": DeviceKind(989e12, 97871 * _MEBIBYTE, 4e12),
    "NVIDIA GH200 480GB": DeviceKind(989e12, 97871 * _MEBIBYTE, 4e12),
    "NVIDIA GH200 144G HBM3e": DeviceKind(989e12, 146831 * _MEBIBYTE, 4.9e12),
    "NVIDIA H200": DeviceKind(989e12, 143771 * _MEBIBYTE, 4.8e12),
    "NVIDIA B200": DeviceKind(2250e12, 183359 * _MEBIBYTE, 8e12),
    "TPU v4": DeviceKind(275e12, 32 * GIBIBYTE, 1.2e12),
    "TPU v5 lite": DeviceKind(197e12, round(15.75 * GIBIBYTE), 819e9),
    "TPU v5": DeviceKind(459e12, round(95.74 * GIBIBYTE), 2.765e12),
    "TPU v6 lite": DeviceKind(918e12, round(31.25 * GIBIBYTE), 1.64e12),
    # JAX's device is one of the two cores of a chip.
    "TPU7x": DeviceKind(1153.5e12, round(94.75 * GIBIBYTE), 3.69e12),
}
"""By `jax.Device.device_kind`, whole: cards whose names have a part in common differ in speed and
memory, and so do parts of one card (MIG)."""

_PREALLOCATED = 0.75
"""Share of a GPU's memory that JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise."""


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Peak of one device in that compute dtype, or ``None`` where it is not known."""
    kind = DEVICE_KINDS.get(device_kind)
    return kind.peak_flops if kind and dtype == "bfloat16" else None


def bandwidth(device_kind: str) -> float | None:
    """Bytes a second of one device's memory, or ``None`` where it is not known."""
    kind = DEVICE_KINDS.get(device_kind)
    return kind.bandwidth if kind else None


def memory_in_use(device: jax.Device) -> int | None:
    """Bytes that a device holds now, for programs too; ``None`` where it does not tell: a CPU."""
    statistics = device.memory_stats()
    return None if statistics is None else statistics["bytes_in_use"]


def memory_limit(device: jax.Device) -> int:
    """Bytes that programs may take of a device's memory.

    A device that is here tells it itself, or, where it belongs to another process, ours does. Of a
    CPU it is an equal share of the machine's memory.

    Raises:
      InputError: of this kind of device it is not known.
    """
    if device.platform == "cpu":
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return machine // len(jax.local_devices(backend="cpu"))
    if device in jax.devices():
        ours = device.process_index == jax.process_index()
        return (device if ours else jax.local_devices()[0]).memory_stats()["bytes_limit"]
    kind = DEVICE_KINDS.get(device.device_kind)
    if kind is None:
        raise InputError(
            f"device {device.device_kind!r}: how much memory it has is not known; add it to "
            "ocijax/devices.py"
        )
    if device.platform == "tpu":
        return kind.memory
    share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", _PREALLOCATED))
    return int(kind.memory * share)
