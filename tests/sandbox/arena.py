"""A throw-away world for programs that may break out of their sandbox.

`run` starts a command in a pid, network, IPC, UTS and mount namespace of its own, in which nothing
can be written but a few empty directories in memory (home and temporary ones) that end with it.
`require` is for the command: it refuses to go on anywhere else.

As a program, ``arena.py USER COMMAND...`` enters that world and runs the command; USER is ``root``
or ``ordinary``. Process 1 in there reaps what nobody waits for and wakes the command, with
a line ``{"stopped": true}`` on standard output, where something has stopped it.
"""

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ocijax.sandbox import kernel

ROOT = Path(__file__).parents[2]
NOBODY = 65534
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")
"""Directories that are empty in here, and the only ones that can be written."""

HOME = "/tmp/home"

_MEMORY_BYTES = 1 << 30  # of all processes together where we may make cgroups, else of each
_PROCESSES = 512
_UNAVAILABLE = 77

_APART = ("mnt", "uts", "ipc", "pid", "net")
_NAMESPACES = (
    kernel.NEW_MOUNT | kernel.NEW_UTS | kernel.NEW_IPC | kernel.NEW_PID | kernel.NEW_NETWORK
)
_INERT = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
_SET_DEATH_SIGNAL = 1
_SET_INTERFACE_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41

_NAME = "OCIJAX_ARENA"
_PREFIX = "ocijax-arena-"
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP_LIMITS = {
    "memory.limit_in_bytes": _MEMORY_BYTES,
    "memory.max": _MEMORY_BYTES,
    "pids.max": _PROCESSES,
}
_CGROUP_USE = (
    ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
    ("memory.current", "memory.peak"),
)


class Unavailable(Exception):
    """This host does not let us make such a world."""


def run(
    command: Sequence[str], user: str, environment: dict[str, str], seconds: float
) -> tuple[list[dict], str]:
    """Runs a command in a new world; returns the JSON lines it printed, and its errors.

    A command that dies, or that is not done after ``seconds``, has printed fewer lines.

    Args:
      command: a Python program, its arguments.
      user: ``root`` where we are, or ``ordinary``: nobody where we are root, else we.
      environment: all that it gets, besides where the library is.
      seconds: when it is ended, with everything that it has started.

    Raises:
      Unavailable: the world cannot be made; says why.
    """
    arguments = [sys.executable, __file__, user, sys.executable, *command]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)} | environment,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    with process:
        try:
            printed, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, errors = process.communicate()
    if process.returncode == _UNAVAILABLE:
        raise Unavailable(errors.strip())
    lines = [line for line in printed.splitlines() if line.endswith("}")]
    return [json.loads(line) for line in lines], errors


def outside() -> dict[str, str]:
    """The namespaces of this process, for `require` to tell that it is in others."""
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in _APART}


def require(elsewhere: dict[str, str]) -> None:
    """Ends this program unless it is in such a world, and in none of the namespaces given.

    Args:
      elsewhere: what `outside` said in the process that meant to leave.
    """
    here = outside()
    shared = [name for name in _APART if elsewhere.get(name, here[name]) == here[name]]
    if shared:
        sys.exit(f"refused: in the same namespaces as the caller ({', '.join(shared)})")
    kinds = _mounted()
    exposed = [place for place in _scratch() if kinds.get(place) != "tmpfs"]
    if exposed or os.environ.get("HOME") != HOME:
        sys.exit(f"refused: home or temporary directories are those of the host {exposed}")
    if os.access("/", os.W_OK) and os.statvfs("/").f_flag & os.ST_RDONLY == 0:
        sys.exit("refused: the host's files can be written")
    if resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY:
        sys.exit("refused: memory has no limit")


def held_bytes() -> tuple[int, int] | None:
    """The memory of this world now, and the most it ever was; ``None`` where it has no cgroup."""
    for place in _own_cgroups():
        for now, most in _CGROUP_USE:
            if place.name == os.environ.get(_NAME) and (place / most).exists():
                return int((place / now).read_text()), int((place / most).read_text())
    return None


def _mounted() -> dict[str, str]:
    """The type of file system at each mount point."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[4]: line.split(" - ")[1].split()[0] for line in lines}


def _scratch() -> list[str]:
    return sorted({os.path.realpath(place) for place in SCRATCH if os.path.isdir(place)})


def _own_cgroups() -> Iterable[Path]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        place = _CGROUPS / controllers / path.lstrip("/")
        if controllers in ("memory", "pids", "") and (place / "cgroup.procs").exists():
            yield place


def _main(user: str, command: list[str]) -> int:
    """Makes the world, waits for its end and clears what outlasts it."""
    _die_with_parent()
    if user == "root" and os.geteuid() != 0:
        print("to run as root takes root", file=sys.stderr)
        return _UNAVAILABLE
    parents = list(_own_cgroups())
    os.environ[_NAME] = f"{_PREFIX}{os.getpid()}"
    _remove_cgroups(parents)
    try:
        _leave()
    except OSError as error:
        print(f"this host forbids namespaces ({error})", file=sys.stderr)
        return _UNAVAILABLE
    child = os.fork()
    if child == 0:
        _rule(user, command, [parent / os.environ[_NAME] for parent in parents])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _remove_cgroups(parents)
    return status if status >= 0 else 128 - status


def _leave() -> None:
    """Enters new namespaces, where we are not root with a user namespace of our own."""
    own_user, own_group = os.geteuid(), os.getegid()
    if own_user == 0:
        kernel.call("unshare", _NAMESPACES)
    else:
        kernel.call("unshare", _NAMESPACES | kernel.NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{own_user} {own_user} 1")
        Path("/proc/self/gid_map").write_text(f"{own_group} {own_group} 1")


def _rule(user: str, command: list[str], cgroups: list[Path]) -> None:
    """Is process 1 of the world."""
    _die_with_parent()
    try:
        if os.geteuid() == 0:
            _enter_cgroups(cgroups)
        _make_bare()
        _set_loopback_up()
        _limit()
    except OSError as error:
        print(f"this host forbids what namespaces need ({error})", file=sys.stderr)
        os._exit(_UNAVAILABLE)
    child = os.fork()
    if child == 0:
        _become(user, command)
    while True:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if pid == child and os.WIFSTOPPED(status):
            os.write(1, b'{"stopped": true}\n')
            os.kill(child, signal.SIGCONT)
        elif pid == child:
            os._exit(abs(os.waitstatus_to_exitcode(status)))


def _become(user: str, command: list[str]) -> None:
    """Runs the command, as somebody to whom the home directory belongs."""
    try:
        if user == "ordinary" and os.geteuid() == 0:
            os.chown(HOME, NOBODY, NOBODY)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        os.chdir(HOME)
        os.execve(command[0], command, os.environ | {"HOME": HOME})
    except OSError as error:
        print(f"user {os.geteuid()} cannot run {command[0]} ({error})", file=sys.stderr)
        os._exit(_UNAVAILABLE)


def _make_bare() -> None:
    """Leaves of the host's files what is needed to run, read-only, and a fresh ``/proc``."""
    kernel.mount("none", "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("proc", "/proc", "proc", _INERT)
    needed = {str(ROOT), sys.prefix, sys.base_prefix, os.path.dirname(sys.executable)}
    needed = sorted({os.path.realpath(path) for path in needed})
    for place in _closed_to_others(needed):
        _cover(place, 0o755, needed)
    kernel.change_mounts("/", kernel.READ_ONLY)
    kernel.change_mounts("/proc", 0, kernel.READ_ONLY)
    if os.geteuid() == 0 and _CGROUPS.is_dir():
        # The sandbox makes some of its own.
        kernel.change_mounts(str(_CGROUPS), 0, kernel.READ_ONLY)
    for place in _scratch():
        _cover(place, 0o1777, needed)
    if os.path.isdir("/dev/mqueue"):
        kernel.mount("mqueue", "/dev/mqueue", "mqueue", _INERT)
    os.makedirs(HOME)


def _closed_to_others(paths: list[str]) -> list[str]:
    """The outermost directories on the way to ``paths`` that only their owner may enter."""
    closed = []
    for path in paths:
        way = [str(parent) for parent in reversed(Path(path).parents)]
        closed += [place for place in way if not os.stat(place).st_mode & 0o001][:1]
    return sorted(set(closed))


def _cover(place: str, mode: int, kept: list[str]) -> None:
    """Hides what ``place`` holds under an empty directory, but for those ``kept`` that it has."""
    inner = {path: os.open(path, os.O_PATH) for path in kept if path.startswith(f"{place}/")}
    kernel.mount("none", place, "tmpfs", kernel.NOSUID | kernel.NODEV, f"mode={mode:o},size=128m")
    for path, descriptor in inner.items():
        os.makedirs(path, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{descriptor}", path, None, kernel.BIND | kernel.RECURSIVE)
        os.close(descriptor)


def _set_loopback_up() -> None:
    with socket.socket() as any_one:
        request = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
        fcntl.ioctl(any_one, _SET_INTERFACE_FLAGS, request)


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_NPROC, _PROCESSES),  # of nobody; root has the cgroup's
    ):
        ceiling = resource.getrlimit(kind)[1]
        most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(kind, (most, most))


def _die_with_parent() -> None:
    kernel.control(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _enter_cgroups(cgroups: list[Path]) -> None:
    for place in cgroups:
        with contextlib.suppress(OSError):  # read-only in most containers
            place.mkdir()
            for name, most in _CGROUP_LIMITS.items():
                if (place / name).exists():
                    (place / name).write_text(str(most))
            (place / "cgroup.procs").write_text("0")


def _remove_cgroups(parents: list[Path]) -> None:
    """Removes ours, and those of arenas that were killed."""
    for place in [place for parent in parents for place in parent.glob(f"{_PREFIX}*")]:
        owner = place.name.removeprefix(_PREFIX)
        if owner == str(os.getpid()) or not os.path.exists(f"/proc/{owner}"):
            with contextlib.suppress(OSError):
                _remove_cgroup(place)


def _remove_cgroup(place: Path) -> None:
    for inner in list(place.iterdir()):
        if inner.is_dir():
            _remove_cgroup(inner)
    place.rmdir()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
