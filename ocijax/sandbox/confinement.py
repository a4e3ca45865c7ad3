"""Takes away, inside a process of ours, everything that a candidate must not have.

Every function acts on the calling process and cannot be undone.
"""

import contextlib
import ctypes
import math
import os
import resource

import kernel

LEAST_PRIVILEGED = 65534
"""User and group that a candidate runs as where the parent is root: ``nobody``."""

JOB_NAMESPACES = kernel.NEW_MOUNT | kernel.NEW_PID | kernel.NEW_IPC
"""That each job has of its own, since what it leaves there would be found by the next."""

LAUNCHER_NAMESPACES = kernel.NEW_NETWORK | kernel.NEW_UTS | kernel.NEW_CGROUP
"""That the jobs of a launcher have one after the other: none can change them, or leave anything."""

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP, _DROP_BOUND = 1, 4, 22, 24
_SET_SUBREAPER, _SET_NO_NEW_PRIVILEGES = 36, 38
_OWN_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version of what follows, process
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()
_FILTER_MODE, _INSTRUCTION_BYTES = 2, 8

_SCRATCH_FILES = 16384

Limit = tuple[int, tuple[int, int]]
"""What `resource.setrlimit` takes."""


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def die_with_parent() -> None:
    """Has the kernel kill this process when the one that forked it ends."""
    kernel.control(_SET_DEATH_SIGNAL, 9)


def let_memory_be_read(by_own_user: bool) -> None:
    """Says whether other processes of this user may trace this one or read its memory."""
    kernel.control(_SET_DUMPABLE, by_own_user)


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    kernel.control(_SET_SUBREAPER, 1)


def candidate_user(proc: int) -> tuple[int, int]:
    """User and group that candidates are to have: ours, or nobody's where we are root.

    A root that is the only user of its namespace (``unshare --map-root-user``) is some ordinary
    user of the host, and stays.

    Args:
      proc: from `open_proc`.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0 and all(_is_mapped(proc, name) for name in ("uid_map", "gid_map")):
        return LEAST_PRIVILEGED, LEAST_PRIVILEGED
    return user, group


def _is_mapped(proc: int, name: str) -> bool:
    ranges = [line.split() for line in read(proc, f"self/{name}").splitlines()]
    return any(int(first) <= LEAST_PRIVILEGED < int(first) + int(n) for first, _, n in ranges)


def enter_user_namespace(proc: int, user: int, group: int) -> None:
    """Becomes a user, alone in a namespace that can have no further ones, with rights there only.

    Args:
      proc: from `open_proc`.
      user: from `candidate_user`.
      group: likewise.
    """
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        let_memory_be_read(True)  # or /proc/self would belong to root
    kernel.call("unshare", kernel.NEW_USER)
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{user or LEAST_PRIVILEGED} {user} 1")
    _write(proc, "self/gid_map", f"{group or LEAST_PRIVILEGED} {group} 1")
    _write(proc, "sys/user/max_user_namespaces", "0")


def bar_privileges() -> None:
    """Lets no program that is started later have more rights than the process that starts it."""
    for capability in range(64):
        try:
            kernel.control(_DROP_BOUND, capability)
        except OSError:
            break  # past the last one, or not allowed to, which changes nothing below
    kernel.control(_SET_NO_NEW_PRIVILEGES, 1)


def drop_capabilities() -> None:
    """Gives up every capability that this process has."""
    kernel.call("capset", _OWN_CAPABILITIES, _NO_CAPABILITIES)


def enter_scratch(size_bytes: int, processes: bool) -> None:
    """Makes an empty ``/tmp``, of its own and in memory, the working directory.

    For the first process of a job's own namespaces.

    Args:
      size_bytes: of all files together.
      processes: whether ``/proc`` is to show the processes of this namespace.
    """
    options = f"size={size_bytes},nr_inodes={_SCRATCH_FILES},mode=700"
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.NOSUID | kernel.NODEV, options)
    os.chdir("/tmp")
    if processes:
        # The kernel gives no more of it than the view has of the host's, which is read-only.
        flags = kernel.READ_ONLY | kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
        kernel.mount("proc", "/proc", "proc", flags, "subset=pid")


def resize_scratch(size_bytes: int) -> None:
    """Changes what `enter_scratch` has set."""
    flags = kernel.REMOUNT | kernel.NOSUID | kernel.NODEV
    kernel.mount("tmpfs", "/tmp", "tmpfs", flags, f"size={size_bytes}")


def deny_system_calls(instructions: bytes) -> None:
    """Has the kernel ask a filter, in the form that it loads, about every further system call."""
    loaded = _Filter(len(instructions) // _INSTRUCTION_BYTES, instructions)
    kernel.control(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(loaded))


def expect_to_be_killed(proc: int) -> None:
    """Has the kernel end this process and its children first when memory runs out."""
    with contextlib.suppress(OSError):
        _write(proc, "self/oom_score_adj", "1000")


def open_proc() -> int:
    """Returns a descriptor of ``/proc``, which outlasts the loss of the host's files.

    Raises:
      OSError: there is none, or that of another process namespace.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    if os.readlink("self", dir_fd=proc) != str(os.getpid()):
        raise OSError("/proc is not that of this process namespace: mount it anew")
    return proc


def count_tasks(proc: int) -> int:
    """Returns how many processes and threads this user has on the host."""
    count, user = 0, os.geteuid()
    for name in filter(str.isdigit, os.listdir(proc)):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.stat(name, dir_fd=proc).st_uid == user:
                count += os.stat(f"{name}/task", dir_fd=proc).st_nlink - 2
    return count


def read(directory: int, path: str) -> str:
    """Returns what the file at ``path`` in an open directory holds."""
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
    set_size_limits(memory_bytes, descriptors)
    for limit in use_limits(cpu_seconds, file_bytes, processes):
        resource.setrlimit(*limit)


def set_size_limits(memory_bytes: int, descriptors: int) -> None:
    """Sets those of the limits that hold for a launcher too."""
    sizes = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_NOFILE: descriptors}
    unused = (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE)
    for limit, most in (sizes | dict.fromkeys(unused, 0)).items():
        resource.setrlimit(*_limit(limit, most, most))


def use_limits(cpu_seconds: float, file_bytes: int, processes: int) -> list[Limit]:
    """Returns those that a launcher would use up, or that hold for programs alone, to be set."""
    seconds = max(1, math.ceil(cpu_seconds))
    return [
        _limit(resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        _limit(resource.RLIMIT_NPROC, processes, processes),
        _limit(resource.RLIMIT_CPU, seconds, seconds + 1),
    ]


def _limit(limit: int, soft: int, hard: int) -> Limit:
    ceiling = resource.getrlimit(limit)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    return limit, (soft, hard)
