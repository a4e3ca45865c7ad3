"""Takes away, inside a process of ours, everything that a candidate must not have.

Linux only, through the C library. Every function acts on the calling process and cannot be undone.
"""

import contextlib
import ctypes
import os
import resource
import stat

LEAST_PRIVILEGED = 65534
"""User and group that a candidate runs as where the parent is root: ``nobody``."""

_NEW_MOUNT, _NEW_UTS, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, 0x20000000, 0x40000000
_NAMESPACES = _NEW_MOUNT | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET

_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_DETACH = 2
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_BOUND = 1, 4, 24
_SET_SUBREAPER, _SET_NO_NEW_PRIVILEGES = 36, 38
_CAPABILITY_VERSION = 0x20080522

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_STAGE = "/tmp"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _control(option: int, value: int = 0) -> None:
    _call("prctl", option, ctypes.c_ulong(value), 0, 0, 0)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )


def die_with_parent() -> None:
    """Has the kernel kill this process when the one that forked it ends."""
    _control(_SET_DEATH_SIGNAL, 9)


def hide_memory() -> None:
    """Keeps other processes of this user from tracing this one or reading its memory."""
    _control(_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    _control(_SET_SUBREAPER, 1)


def enter_namespaces(
    proc: int, visible: tuple[str, ...], mounted: dict[str, str], scratch_bytes: int
) -> None:
    """Leaves the host's files, processes, network, IPC and name behind.

    The working directory becomes an empty scratch of its own, at ``/tmp`` and in memory; the next
    process forked is the first of its process namespace.

    Args:
      proc: from `open_proc`.
      visible: host paths that stay readable, where they are, besides the system's libraries.
      mounted: further host paths, from where they are to where they shall be.
      scratch_bytes: size of the scratch directory.
    """
    if os.geteuid() != 0:
        _enter_user_namespace(proc)
    _call("unshare", _NAMESPACES)
    _call("sethostname", b"sandbox", 7)
    _mount("none", "/", None, _REC | _PRIVATE)
    _build_view({path: path for path in visible} | mounted)
    owner, group = _candidate_user(proc)
    options = f"size={scratch_bytes},nr_inodes=16384,mode=700,uid={owner},gid={group}"
    _mount("tmpfs", f"{_STAGE}/tmp", "tmpfs", _NOSUID | _NODEV, options)
    os.chdir(_STAGE)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/tmp")


def _candidate_user(proc: int) -> tuple[int, int]:
    """User and group that a candidate is to have: ours, or nobody's where we are root.

    A root that is the only user of its namespace (``unshare --map-root-user``) is some ordinary
    user of the host, and stays.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0 and all(_is_mapped(proc, name) for name in ("uid_map", "gid_map")):
        return LEAST_PRIVILEGED, LEAST_PRIVILEGED
    return user, group


def _is_mapped(proc: int, name: str) -> bool:
    ranges = [line.split() for line in _read(proc, f"self/{name}").splitlines()]
    return any(int(first) <= LEAST_PRIVILEGED < int(first) + int(n) for first, _, n in ranges)


def _build_view(shown: dict[str, str]) -> None:
    """Mounts on `_STAGE` a root directory with ``shown``, the system and a few devices."""
    binds, links = {}, {}
    for path in _SYSTEM:
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.exists(path):
            binds[path] = path
    binds |= shown
    devices = {f"/dev/{name}": f"/dev/{name}" for name in _DEVICES}
    # Opened before the stage is mounted, which may cover them.
    sources = {path: os.open(path, os.O_PATH) for path in (*binds, *devices)}
    _mount("tmpfs", _STAGE, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path, target in (binds | devices).items():
        _make_mount_point(_STAGE + target, stat.S_ISDIR(os.stat(sources[path]).st_mode))
    for path, target in links.items():
        os.symlink(target, _STAGE + path)
    os.makedirs(f"{_STAGE}/tmp", exist_ok=True)
    os.symlink("/tmp", f"{_STAGE}/dev/shm")
    for path, target in sorted(binds.items(), key=lambda bind: len(bind[1])):
        if not _covered(target, binds.values()):
            _mount(f"/proc/self/fd/{sources[path]}", _STAGE + target, None, _BIND | _REC)
    _make_read_only(_STAGE)
    for path in devices:
        _mount(f"/proc/self/fd/{sources[path]}", _STAGE + path, None, _BIND)
    for descriptor in sources.values():
        os.close(descriptor)


def _covered(target: str, targets) -> bool:
    return any(target.startswith(other.rstrip("/") + "/") for other in targets)


def _make_mount_point(path: str, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _make_read_only(path: str) -> None:
    read_only, no_suid, no_device = 1, 2, 4
    attributes = (ctypes.c_uint64 * 4)(read_only | no_suid | no_device, 0, 0, 0)
    _call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        _AT_FDCWD,
        path.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def _enter_user_namespace(proc: int) -> None:
    """Enters a user namespace in which there is this user and group, and nobody else."""
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _NEW_USER)
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{user or LEAST_PRIVILEGED} {user} 1")
    _write(proc, "self/gid_map", f"{group or LEAST_PRIVILEGED} {group} 1")


def drop_privileges(proc: int, change_user: bool) -> None:
    """Gives up every capability for ever, so that no program started later has any.

    Args:
      proc: from `open_proc`.
      change_user: whether to become an unprivileged user in a namespace of its own that can have
        no further ones; after `enter_namespaces` only.
    """
    if change_user:
        if os.geteuid() == 0:
            user, group = _candidate_user(proc)
            if user != 0:
                os.setgroups([])
                os.setresgid(group, group, group)
                os.setresuid(user, user, user)
            _control(_SET_DUMPABLE, 1)  # or /proc/self would belong to root
            _enter_user_namespace(proc)
        _write(proc, "sys/user/max_user_namespaces", "0")
    for capability in range(64):
        if _libc.prctl(_DROP_BOUND, ctypes.c_ulong(capability), 0, 0, 0) == -1:
            break  # past the last one, or not allowed to, which changes nothing below
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    _control(_SET_NO_NEW_PRIVILEGES, 1)


def expect_to_be_killed() -> None:
    """Has the kernel end this process and its children first when the host's memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def open_proc() -> int:
    """Returns a descriptor of ``/proc``, which outlasts the loss of the host's files.

    Raises:
      OSError: there is none, or that of another process namespace.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    if os.readlink("self", dir_fd=proc) != str(os.getpid()):
        raise OSError("/proc is not that of this process namespace: mount it anew")
    return proc


def descendants(proc: int, pid: int) -> list[int]:
    """Returns the processes below ``pid``, the nearest first."""
    family = [pid]
    for member in family:
        with contextlib.suppress(OSError):
            tasks = os.open(f"{member}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
            try:
                for task in os.listdir(tasks):
                    family += map(int, _read(tasks, f"{task}/children").split())
            finally:
                os.close(tasks)
    return family[1:]


def resident_bytes(proc: int, processes: list[int]) -> int:
    """Memory that ``processes`` hold together, what they share counted once."""
    total = 0
    for pid in processes:
        with contextlib.suppress(OSError, ValueError):
            rollup = _read(proc, f"{pid}/smaps_rollup").split()
            total += int(rollup[rollup.index("Pss:") + 1]) << 10
    return total


def _read(directory: int, path: str) -> str:
    with open(os.open(path, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


def _write(directory: int, path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def set_limits(
    memory_bytes: int, cpu_seconds: float, file_bytes: int, processes: int, descriptors: int
) -> None:
    """Sets the kernel's limits on this process and those it starts; never above present ones."""
    seconds = max(1, -int(-cpu_seconds // 1))
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NOFILE, descriptors),
    ):
        _set_limit(limit, value, value)
    _set_limit(resource.RLIMIT_CPU, seconds, seconds + 1)


def _set_limit(limit: int, soft: int, hard: int) -> None:
    ceiling = resource.getrlimit(limit)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(limit, (soft, hard))
