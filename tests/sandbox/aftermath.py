"""What hostile programs want to touch, and what they may leave behind."""

import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sandbox.arena import SCRATCH

_DIRECTORY = Path("/tmp/ocijax_canary")
_SYSTEM_V = ("shm", "msg", "sem")
_END_SECONDS = 1.0


class Canaries:
    """The secrets, files and servers of this process that no program must reach.

    Where they are is part of the suite: its programs look for them there.

    Args:
      secret: what is to stay unread.
      answers: likewise.
    """

    def __init__(self, secret: str, answers: Sequence[Any]):
        victims = _DIRECTORY / "victim_dir"
        victims.mkdir(parents=True)
        for place in (_DIRECTORY, victims):
            place.chmod(0o777)
        (_DIRECTORY / "secret.txt").write_text(secret)
        (_DIRECTORY / "answers.json").write_text(json.dumps(answers))
        (victims / "keep.txt").write_text("keep")
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", 47632))
        self._datagrams.setblocking(False)
        self._servers = {"tcp": socket.create_server(("127.0.0.1", 47631))}
        for name, address in (
            ("abstract", b"\0ocijax_canary"),
            ("unix", bytes(_DIRECTORY / "sock")),
        ):
            server = self._servers[name] = socket.socket(socket.AF_UNIX)
            server.bind(address)
            server.listen()
        for server in self._servers.values():
            server.setblocking(False)

    def touched(self) -> list[str]:
        """The sockets that somebody has reached since this was last asked."""
        found = set()
        for name, server in self._servers.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.accept()[0].close()
                    found.add(name)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._datagrams.recv(1)
                found.add("udp")
        return sorted(found)


@dataclass(frozen=True)
class Footprint:
    """What there is of the world around this process, itself included.

    Attributes:
      processes: names of those alive, by number.
      zombies: ended and not waited for.
      descriptors: open ones of all processes that we may look into.
      resident_bytes: memory of these, what they share counted once.
      files: kind, size and time of change by path, in the directories that can be written.
      mounts: mount points.
      ipc: System V objects and POSIX message queues.
    """

    processes: dict[int, str]
    zombies: int
    descriptors: int
    resident_bytes: int
    files: dict[str, tuple[int, ...]]
    mounts: int
    ipc: int

    @classmethod
    def taken(cls) -> "Footprint":
        """The footprint now."""
        states = _states()
        alive = {pid: name for pid, (name, state) in states.items() if state not in "ZX"}
        return cls(
            processes=alive,
            zombies=len(states) - len(alive),
            descriptors=sum(map(_descriptors, alive)),
            resident_bytes=sum(map(_resident, alive)),
            files=_files(),
            mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()),
            ipc=_ipc(),
        )


def left_running(idle: int) -> list[str]:
    """Names of the processes beyond ``idle`` that a second has not ended."""
    end = time.monotonic() + _END_SECONDS
    while True:
        alive = [name for name, state in _states().values() if state not in "ZX"]
        if len(alive) <= idle:
            return []
        if time.monotonic() > end:
            return alive
        time.sleep(0.01)


def _states() -> dict[int, tuple[str, str]]:
    """Name and state of every process, by number."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            before, _, after = place.read_text(errors="replace").rpartition(")")
            found[int(place.parent.name)] = (before.partition("(")[2], after.split()[0])
    return found


def _descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
        return int(fields[fields.index("Pss:") + 1]) << 10
    return 0


def _files() -> dict[str, tuple[int, ...]]:
    found = {}
    for top in (*SCRATCH, "/dev/mqueue"):
        for directory, inner, names in os.walk(top):
            inner[:] = [name for name in inner if not os.path.ismount(f"{directory}/{name}")]
            for path in (f"{directory}/{name}" for name in inner + names):
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(path)
                    changed = () if stat.S_ISDIR(status.st_mode) else (status.st_mtime_ns,)
                    found[path] = (status.st_mode, status.st_ino, *changed)
    return found


def _ipc() -> int:
    tables = [Path("/proc/sysvipc") / kind for kind in _SYSTEM_V]
    return sum(len(table.read_text().splitlines()) - 1 for table in tables if table.exists())
