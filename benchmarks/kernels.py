"""Which kernels of a GPU hold the time of a step."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax


class Kernel(NamedTuple):
    """Launches of one kernel.

    Attributes:
      milliseconds: of all launches together.
      launches: how many.
      name: the compiler's.
    """

    milliseconds: float
    launches: int
    name: str


def kernels_of(run: Callable[[], object]) -> list[Kernel]:
    """The kernels that ``run`` launches on the first GPU, those with the most time first.

    Args:
      run: warmed up already; returns arrays, which are waited for.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(run())
        (trace,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(trace))
    nanoseconds, launches = defaultdict(float), defaultdict(int)
    for plane in profile.planes:
        if plane.name != "/device:GPU:0":
            continue
        for line in plane.lines:
            if line.name.startswith("Stream"):
                for event in line.events:
                    nanoseconds[event.name] += event.duration_ns
                    launches[event.name] += 1
    return sorted(
        (Kernel(time / 1e6, launches[name], name) for name, time in nanoseconds.items()),
        reverse=True,
    )
