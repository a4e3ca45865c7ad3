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


DEVICE_KINDS = {
    "A100": DeviceKind(312e12, 80 * GIBIBYTE, 2.04e12),
    "H100": DeviceKind(989e12, 81559 * 2**20, 3.35e12),
    "H200": DeviceKind(989e12, 143771 * 2**20, 4.8e12),
    "B200": DeviceKind(2250e12, 183359 * 2**20, 8e12),
    "TPU v4": DeviceKind(275e12, 32 * GIBIBYTE, 1.2e12),
    "TPU v5 lite": DeviceKind(197e12, round(15.75 * GIBIBYTE), 819e9),
    "TPU v5": DeviceKind(459e12, round(95.74 * GIBIBYTE), 2.765e12),
    "TPU v6 lite": DeviceKind(918e12, round(31.25 * GIBIBYTE), 1.64e12),
    # JAX's device is one of the two cores of a chip.
    "TPU7x": DeviceKind(1153.5e12, round(94.75 * GIBIBYTE), 3.69e12),
}
"""By a part of `jax.Device.device_kind`; the first one that is in it counts."""

_PREALLOCATED = 0.75
"""Share of a GPU's memory that JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise."""


def find_kind(device_kind: str) -> DeviceKind | None:
    """The row of a `jax.Device.device_kind`, or ``None`` where there is none."""
    return next((row for name, row in DEVICE_KINDS.items() if name in device_kind), None)


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Peak of one device in that compute dtype, or ``None`` where it is not known."""
    kind = find_kind(device_kind)
    return kind.peak_flops if kind and dtype == "bfloat16" else None


def bandwidth(device_kind: str) -> float | None:
    """Bytes a second of one device's memory, or ``None`` where it is not known."""
    kind = find_kind(device_kind)
    return kind.bandwidth if kind else None


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
    kind = find_kind(device.device_kind)
    if kind is None:
        raise InputError(
            f"device {device.device_kind!r}: how much memory it has is not known; add it to "
            "ocijax/devices.py"
        )
    if device.platform == "tpu":
        return kind.memory
    share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", _PREALLOCATED))
    return int(kind.memory * share)
