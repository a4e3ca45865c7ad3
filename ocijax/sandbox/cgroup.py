"""Control groups for a launcher and its jobs, where this process may make some (v1 or v2).

They bound what rlimits cannot: the memory of all processes of a job together, with what they share
and keep in files in memory, and their number. The launcher enters them once: a job costs nothing.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "ocijax-"
_END_SECONDS = 2.0


@dataclass(frozen=True)
class _Kind:
    """How a version of control groups names its files.

    Attributes:
      controllers: that one hierarchy has; v2 has all in one, and does not name them.
      memory: limit of memory.
      no_swap: where 0 forbids swapping.
      processes: limit of their number.
      events: tells how often the kernel has killed for want of memory.
    """

    controllers: str
    memory: str | None = None
    no_swap: str | None = None
    processes: str | None = None
    events: str | None = None


_KINDS = (
    _Kind("", "memory.max", "memory.swap.max", "pids.max", "memory.events"),
    _Kind(
        "memory",
        "memory.limit_in_bytes",
        "memory.swappiness",
        events="memory.oom_control",
    ),
    _Kind("pids", processes="pids.max"),
)


class Cgroup:
    """The groups of one launcher; `enter` makes them.

    Attributes:
      bounded: what they bound: ``memory``, ``processes``, both or nothing.
    """

    def __init__(self):
        self.bounded: frozenset[str] = frozenset()
        self._places: list[tuple[Path, _Kind]] = []
        self._memory_bytes = self._allowed_bytes = 0
        self._kills = 0

    def enter(self, pid: int, name: str, memory_bytes: int, processes: int) -> None:
        """Makes the groups that can be made, and puts a process there.

        Args:
          pid: of the process.
          name: of the groups, that no other launcher of this program has.
          memory_bytes: of all processes together.
          processes: and threads, of all together.
        """
        for parent, kind in _parents():
            _clear(parent)
            place = parent / f"{_PREFIX}{os.getpid()}-{name}"
            limits = {kind.memory: memory_bytes, kind.processes: processes}
            limits = {file: most for file, most in limits.items() if file}
            try:
                place.mkdir()
            except OSError:
                continue
            try:
                for file, most in limits.items():
                    _put(place / file, most)
                _put(place / "cgroup.procs", pid)
            except OSError:
                _remove(place)
                continue
            self._places.append((place, kind))
            if kind.no_swap:
                with contextlib.suppress(OSError):  # a kernel without swap has no such file
                    _put(place / kind.no_swap, 0)
        self._memory_bytes = self._allowed_bytes = memory_bytes
        self.bounded = frozenset(
            resource
            for _, kind in self._places
            for resource in ("memory", "processes")
            if getattr(kind, resource)
        )

    def allow(self, more_bytes: int) -> None:
        """Lets the next job hold so much more memory than jobs do otherwise."""
        if self._memory_bytes + more_bytes != self._allowed_bytes:
            self._allowed_bytes = self._memory_bytes + more_bytes
            for place, kind in self._places:
                if kind.memory:
                    _put(place / kind.memory, self._allowed_bytes)

    def has_killed(self) -> bool:
        """Returns whether the kernel has killed for want of memory since this was last asked."""
        before, self._kills = self._kills, sum(map(_count_kills, self._places))
        return self._kills > before

    def remove(self) -> None:
        """Removes the groups, once all processes there have ended."""
        for place, _ in self._places:
            end = time.monotonic() + _END_SECONDS
            while not _remove(place) and time.monotonic() < end:
                time.sleep(0.005)
        self._places = []


def _count_kills(group: tuple[Path, _Kind]) -> int:
    place, kind = group
    if kind.events is None:
        return 0
    words = (place / kind.events).read_text().split()
    return int(words[words.index("oom_kill") + 1])


def _parents() -> Iterator[tuple[Path, _Kind]]:
    """Directories in which groups of each kind may be made, each kind's best one."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    for kind in _KINDS:
        for place, root in _mounted(kind):
            path = own.get(kind.controllers, "")
            if path.startswith(root):
                directory = place / os.path.relpath(path, root)
                if not kind.controllers and directory != place and not _has_limited(directory):
                    directory = directory.parent  # in v2 a group with processes has no limited ones
                yield directory, kind


def _has_limited(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (directory / "cgroup.subtree_control").read_text().split()
    return False


def _put(file: Path, number: int) -> None:
    with open(file, "r+") as opened:
        opened.write(str(number))


def _mounted(kind: _Kind) -> Iterator[tuple[Path, str]]:
    """Where a hierarchy of this kind is mounted, and which of its directories is shown there."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, system = line.partition(" - ")
        (_, _, _, root, place, *_), (type_, _, options) = mount.split(), system.split(" ", 2)
        own_type = type_ == ("cgroup" if kind.controllers else "cgroup2")
        if own_type and (not kind.controllers or kind.controllers in options.split(",")):
            yield Path(place), root


def _clear(parent: Path) -> None:
    """Removes groups of programs that were killed."""
    for place in parent.glob(f"{_PREFIX}*"):
        if not os.path.exists(f"/proc/{place.name.removeprefix(_PREFIX).split('-')[0]}"):
            _remove(place)


def _remove(place: Path) -> bool:
    try:
        place.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True
