"""What plans of training and of sampling have in common."""

from dataclasses import dataclass

from ocijax.plan.collectives import Collective
from ocijax.plan.program import Memory


@dataclass(frozen=True)
class Plan:
    """What a program takes of each device of a mesh.

    Attributes:
      device_kind: of the devices.
      devices: how many.
      mesh: devices along each axis.
      memory_limit: bytes that programs may take of one device.
      compiled: whether the figures are a compiler's; otherwise they are an estimate.
      seconds: that tracing and compiling took.
      parameters: bytes of those on one device, an adapter's and those under it.
      memory: of one device.
      collectives: of one run; empty where they are not known, since nothing was compiled or the
        compiler refused the program for want of memory.
    """

    device_kind: str
    devices: int
    mesh: dict[str, int]
    memory_limit: int
    compiled: bool
    seconds: float
    parameters: int
    memory: Memory
    collectives: tuple[Collective, ...]

    @property
    def share(self) -> float:
        """Of a device's memory."""
        return self.memory.peak / self.memory_limit

    @property
    def fits(self) -> bool:
        """Whether the devices have the memory."""
        return self.memory.peak <= self.memory_limit
