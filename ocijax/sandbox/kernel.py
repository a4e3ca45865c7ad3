"""Calls of the Linux kernel that Python has no function for, through the C library."""

import ctypes
import os
import signal

NEW_MOUNT, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000

READ_ONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 1 << 5, 1 << 12, 1 << 14, 1 << 18

_CLONE, _MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 435, 442, -100, 0x8000
_CLONE_WORDS, _EXIT_SIGNAL = 8, 4

_libc = ctypes.PyDLL(None, use_errno=True)  # which keeps Python's lock, as forking must
_prctl = _libc.prctl
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
for _function in (_before_fork, _after_fork_parent, _after_fork_child):
    _function.restype = None


def call(name: str, *arguments) -> int:
    """Returns what a function of the C library gives; raises OSError where that is -1."""
    return _checked(getattr(_libc, name)(*arguments), name)


def _checked(result: int, name: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def system_call(number: int, name: str, *arguments) -> int:
    """Returns what a system call that the C library does not know gives, as `call` does."""
    try:
        return call("syscall", ctypes.c_long(number), *arguments)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno)}") from None


def control(option: int, value: int = 0, pointer=0) -> None:
    """Calls ``prctl``."""
    _checked(_prctl(option, value, pointer, 0, 0), "prctl")


def fork_apart(namespaces: int) -> int:
    """Forks as `os.fork` does, the child in new ``namespaces``.

    Unlike entering them afterwards, this also makes the child the first process of its own process
    namespace, and it is one call to the kernel.
    """
    arguments = (ctypes.c_uint64 * _CLONE_WORDS)(namespaces)
    arguments[_EXIT_SIGNAL] = signal.SIGCHLD
    _before_fork()
    try:
        pid = system_call(_CLONE, "clone", arguments, ctypes.c_size_t(ctypes.sizeof(arguments)))
    except OSError:
        _after_fork_parent()
        raise
    (_after_fork_parent if pid else _after_fork_child)()
    return pid


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mounts ``source`` on ``target``."""
    call(
        "mount",
        source.encode(),
        target.encode(),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )


def change_mounts(path: str, added: int, removed: int = 0) -> None:
    """Changes the flags of what is mounted at and below ``path``."""
    attributes = (ctypes.c_uint64 * 4)(added, removed, 0, 0)
    system_call(
        _MOUNT_SETATTR,
        "mount_setattr",
        _AT_FDCWD,
        path.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
