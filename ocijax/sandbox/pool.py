"""Launchers, one for each job that runs, started when they are needed and kept for the next."""

import contextlib
import marshal
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from ocijax.sandbox import scratch
from ocijax.sandbox.cgroup import Cgroup
from ocijax.sandbox.errors import SandboxError

_LAUNCHER = Path(__file__).with_name("launcher.py")
_START_SECONDS = 60.0
_MOST_LINE = 1 << 16
_SLACK_BYTES = 64 << 20  # what a launcher itself may hold, with the packages it has imported
_SLACK_PROCESSES = 8

_SWITCHES = (  # by which hosts forbid namespaces to ordinary users, and what they are then set to
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
)
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # what goes through sets is the same in every run
    "LD_BIND_NOW": "1",  # symbols are looked up here, not in each job again
}
_NAMESPACES = tuple(
    f"{kind} namespace" for kind in ("user", "pid", "mount", "network", "ipc", "uts", "cgroup")
)


class Launcher:
    """The process that forks those of jobs, one job after the other.

    Args:
      settings: what `launcher.py` reads first.
      memory_bytes: of all processes of a job together, with the files that they write.
      processes: and threads, of a job.

    Attributes:
      status: descriptor on which it says what becomes of a job, in lines.
      layers: names of what keeps its jobs in.

    Raises:
      SandboxError: it cannot isolate jobs on this host.
    """

    def __init__(self, settings: dict[str, Any], memory_bytes: int, processes: int):
        self._status, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._jobs, jobs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._number = 0
        python = os.path.realpath(sys.executable)
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-s", "-S", "-X", "utf8", str(_LAUNCHER), str(jobs.fileno())],
                stdin=status,
                pass_fds=[jobs.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"cannot start the sandbox's launcher: {error}") from None
        finally:
            status.close()
            jobs.close()
        self.cgroup = Cgroup()
        name = secrets.token_hex(8)
        self._scratch = f"{tempfile.gettempdir()}/sandbox-{name}"  # where that is all there is
        self.stop = weakref.finalize(
            self, _stop, (self._status, self._jobs), self._process, self.cgroup, self._scratch
        )
        self.cgroup.enter(
            self._process.pid,
            name,
            memory_bytes + _SLACK_BYTES,
            processes + _SLACK_PROCESSES,
        )
        self.status = self._status.fileno()
        self.layers = self._set_up(settings | {"scratch": self._scratch})
        self._status.setblocking(False)

    def send(self, descriptors: list[int]) -> bool:
        """Hands over the five descriptors of a job; returns whether it could be.

        Raises:
          SandboxError: there was no isolating the process that should have taken it.
        """
        if select.select([self._status], [], [], 0)[0]:  # something has ended
            line = self._status.recv(_MOST_LINE).decode()
            if line.startswith("refused "):
                raise refusal(line[8:].strip())
            return False
        self._number += 1
        try:
            socket.send_fds(self._jobs, [b"%d" % self._number], descriptors)
        except OSError:
            return False
        return True

    def end_job(self) -> None:
        """Has it kill what there is of the job."""
        with contextlib.suppress(OSError):  # it has ended, and that with it
            self._status.send(b"%d" % self._number)

    def wake(self) -> None:
        """Has it go on where a program that shares its user has stopped it."""
        self._process.send_signal(signal.SIGCONT)

    def tidy(self) -> None:
        """Removes the directory that it keeps for its next job; only while it has none."""
        scratch.remove(self._scratch)

    def _set_up(self, settings: dict[str, Any]) -> tuple[str, ...]:
        self._status.settimeout(_START_SECONDS)
        try:
            self._status.send(marshal.dumps(settings))
            answer = self._status.recv(_MOST_LINE).decode()
        except OSError as error:
            answer = f"refused it did not start ({error})"
        word, _, text = answer.strip().partition(" ")
        if word != "ready":
            self.stop()
            raise refusal(text or "it ended at its start")
        layers = ("empty environment", "rlimits", "no capabilities", "no_new_privs")
        if settings["isolation"] == "namespaces":
            layers += (*_NAMESPACES, "read-only root", "seccomp")
        if int(text):
            layers += (f"Landlock {text}",)
        return layers + tuple(f"cgroup of {kind}" for kind in sorted(self.cgroup.bounded))


def refusal(reason: str) -> SandboxError:
    """Returns the error that says why the host does not isolate, and what to do."""
    remedy = "allow unprivileged user namespaces (to the container, if this is one)"
    for name, forbidding, allowing in _SWITCHES:
        with contextlib.suppress(OSError):
            if Path("/proc/sys", name.replace(".", "/")).read_text().strip() == forbidding:
                remedy = f"allow user namespaces (sysctl -w {name}={allowing})"
    return SandboxError(
        f"the host forbids the sandbox's isolation ({reason}): {remedy}, or choose"
        ' isolation="limits", which is weaker'
    )


def _stop(
    sockets: tuple[socket.socket, ...], process: subprocess.Popen, cgroup: Cgroup, place: str
) -> None:
    for connection in sockets:
        connection.close()
    process.kill()  # and the kernel what is left of a job
    process.wait()
    cgroup.remove()
    scratch.remove(place)


class Pool:
    """Launchers that are alike.

    Args:
      settings: as of `Launcher`.
      memory_bytes: likewise.
      processes: likewise.
    """

    def __init__(self, settings: dict[str, Any], memory_bytes: int, processes: int):
        self._arguments = settings, memory_bytes, processes
        self._lock = threading.Lock()
        self._idle: list[Launcher] = []
        self._busy = 0

    def begin(self, descriptors: list[int], more_bytes: int) -> Launcher:
        """Has a launcher that is idle, or a new one, begin a job.

        Args:
          descriptors: the job's five.
          more_bytes: memory that it may hold more than others.

        Raises:
          SandboxError: jobs cannot be isolated on this host.
        """
        with self._lock:
            self._busy += 1
        try:
            return self._hand_to_one(descriptors, more_bytes)
        except BaseException:
            self._have_ended()
            raise

    def end(self, launcher: Launcher, gone: bool) -> None:
        """Keeps a launcher for the next job where the one that it had is gone."""
        if not gone:
            launcher.stop()
        self._have_ended(*([launcher] if gone else []))

    def _have_ended(self, *idle: Launcher) -> None:
        with self._lock:
            self._idle += idle
            self._busy -= 1
            if not self._busy:
                for launcher in self._idle:
                    launcher.tidy()

    def _hand_to_one(self, descriptors: list[int], more_bytes: int) -> Launcher:
        while (launcher := self._take_idle()) is not None:
            if self._hands_over(launcher, descriptors, more_bytes):
                return launcher
        launcher = Launcher(*self._arguments)
        if not self._hands_over(launcher, descriptors, more_bytes):
            raise SandboxError("the sandbox's launcher ended at its start: run this again")
        return launcher

    def _take_idle(self) -> Launcher | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _hands_over(self, launcher: Launcher, descriptors: list[int], more_bytes: int) -> bool:
        launcher.cgroup.allow(more_bytes)
        handed_over = False
        try:
            handed_over = launcher.send(descriptors)
        finally:
            if not handed_over:
                launcher.stop()
        return handed_over
