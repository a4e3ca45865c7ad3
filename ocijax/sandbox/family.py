"""The processes that a candidate has started: what they hold, their end and what they have used."""

import contextlib
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from confinement import read

_LOOK_SECONDS = 0.05
_KILL_SECONDS = 0.001


@dataclass
class Used:
    """What processes that have ended and been waited for used up.

    Attributes:
      cpu_seconds: of all together.
      peak_bytes: the most that one of them held.
    """

    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    def add(self, usage) -> None:
        """Adds those of one `os.wait4`."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss << 10)


class Family:
    """A candidate and all that descends from it, watched by a process that adopts their orphans.

    Args:
      proc: from `confinement.open_proc`.
      candidate: its process, a child of this one.
      kill: tries to kill all of the family.

    Attributes:
      ended: how the candidate did, as `os.wait` gives it; ``None`` while it has not.
      used: by those that have ended.
    """

    def __init__(self, proc: int, candidate: int, kill: Callable[["Family"], None]):
        self.ended: int | None = None
        self.used = Used()
        self._proc = proc
        self._candidate = candidate
        self._kill = kill

    def watch(
        self, begun: int, control: int, is_to_end: Callable[[], bool], memory_bytes: int
    ) -> None:
        """Waits until the candidate ends or is to end.

        Args:
          begun: descriptor that is readable once it has something to do.
          control: descriptor that is readable when there is a reason to ask ``is_to_end``.
          is_to_end: tells whether nobody waits for the candidate any more.
          memory_bytes: that several processes may hold together; of one the kernel sees to it.

        Raises:
          MemoryError: they hold more.
        """
        handle = os.pidfd_open(self._candidate)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(control, select.POLLIN)
        poll.register(begun, select.POLLIN)
        interval = None
        try:
            while True:
                ready = dict(poll.poll(interval))
                if handle in ready or (control in ready and is_to_end()):
                    return
                if begun in ready:
                    poll.unregister(begun)
                    interval = 1000 * _LOOK_SECONDS
                    continue
                self._bury()
                members = self.members()
                # Of a single process the kernel bounds the memory.
                if len(members) > 1 and self._resident_bytes(members) > memory_bytes:
                    raise MemoryError
        finally:
            os.close(handle)
            self._bury()

    def end(self) -> None:
        """Kills until none is left; orphans come to this process, so none escapes by forking."""
        while self._bury():
            self._kill(self)
            if self.ended is None:
                self._bury_one(os.wait4(self._candidate, 0))
            else:
                time.sleep(_KILL_SECONDS)

    def _bury(self) -> bool:
        """Waits for those that have ended; returns whether there are others."""
        with contextlib.suppress(ChildProcessError):
            while (one := os.wait4(-1, os.WNOHANG))[0]:
                self._bury_one(one)
            return True
        return False

    def _bury_one(self, one: tuple) -> None:
        pid, status, usage = one
        self.used.add(usage)
        if pid == self._candidate:
            self.ended = status

    def members(self) -> list[int]:
        """Returns the processes below this one, numbered as ``proc`` does, the nearest first."""
        members = [int(os.readlink("self", dir_fd=self._proc))]
        for member in members:
            with contextlib.suppress(OSError):
                tasks = os.open(f"{member}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
                try:
                    for task in os.listdir(tasks):
                        members += map(int, read(tasks, f"{task}/children").split())
                finally:
                    os.close(tasks)
        return members[1:]

    def _resident_bytes(self, members: list[int]) -> int:
        """Memory that they hold together, what they share counted once."""
        total = 0
        for pid in members:
            with contextlib.suppress(OSError, ValueError):
                rollup = read(self._proc, f"{pid}/smaps_rollup").split()
                total += int(rollup[rollup.index("Pss:") + 1]) << 10
        return total
