"""The processes that a candidate has started: what they hold, their end and what they have used."""

import contextlib
import os
import resource
import select
import time
from collections.abc import Callable

from confinement import read

_LOOK_SECONDS = 0.05
_KILL_SECONDS = 0.001


class Family:
    """A candidate and all that descends from it, watched by a process that adopts their orphans.

    It is made before the candidate is forked: a page of memory that is written to afterwards has
    to be copied first.

    Args:
      proc: from `confinement.open_proc`.
      control: descriptor that is readable when there is a reason to ask ``is_to_end``.
      is_to_end: tells whether nobody waits for the candidate any more.
      kill: tries to kill all of the family.

    Attributes:
      begun: descriptor of an event, for the candidate to tell that it has something to do.
      cpu_seconds: that those which have ended used up together.
      peak_bytes: the most that one of these held.
    """

    def __init__(
        self,
        proc: int,
        control: int,
        is_to_end: Callable[[], bool],
        kill: Callable[["Family"], None],
    ):
        self.begun = os.eventfd(0)
        self.cpu_seconds = 0.0
        self.peak_bytes = 0
        self._proc = proc
        self._control = control
        self._is_to_end = is_to_end
        self._kill = kill
        self._ended: int | None = None
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self.begun, select.POLLIN)

    def fork(self) -> int:
        """Forks the candidate, as `os.fork` does."""
        self._candidate = os.fork()
        return self._candidate

    def watch(self, memory_bytes: int) -> None:
        """Waits until the candidate ends or is to end.

        Args:
          memory_bytes: that several processes may hold together; of one the kernel sees to it.

        Raises:
          MemoryError: they hold more.
        """
        handle = os.pidfd_open(self._candidate)
        self._poll.register(handle, select.POLLIN)
        interval = None
        try:
            while True:
                ready = dict(self._poll.poll(interval))
                if handle in ready or (self._control in ready and self._is_to_end()):
                    return
                if self.begun in ready:
                    self._poll.unregister(self.begun)
                    interval = 1000 * _LOOK_SECONDS
                    continue
                self._bury()
                members = self.members()
                # Of a single process the kernel bounds the memory.
                if len(members) > 1 and self._resident_bytes(members) > memory_bytes:
                    raise MemoryError
        finally:
            os.close(handle)
            os.close(self.begun)

    def end(self) -> int | None:
        """Kills until none is left; orphans come to this process, so none escapes by forking.

        Returns how the candidate had ended by then, as `os.wait` gives it; ``None`` if it had not.
        """
        left = self._bury()
        ended = self._ended
        while left:
            self._kill(self)
            if self._ended is None:
                self._bury_one(*os.wait4(self._candidate, 0))
            else:
                time.sleep(_KILL_SECONDS)
            left = self._bury()
        return ended

    def _bury(self) -> bool:
        """Waits for those that have ended; returns whether there are others."""
        try:
            while (one := os.wait4(-1, os.WNOHANG))[0]:
                self._bury_one(*one)
            return True
        except ChildProcessError:
            return False

    def _bury_one(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss << 10)
        if pid == self._candidate:
            self._ended = status

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
