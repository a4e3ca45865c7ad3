"""Landlock: a process can open files beneath the directories named to it, and no others.

See https://docs.kernel.org/userspace-api/landlock.html, which gives each version its rights.
"""

import ctypes
import errno
import os

import kernel

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_GET_VERSION, _BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1, 2, 4, 8
_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # by the version that brought them
_DEVICE_NODES = 1 << 6 | 1 << 11
_NETWORK = {4: 0b11}  # to bind and to connect
_SCOPES = {6: 0b11}  # abstract sockets, signals

_READ = _EXECUTE | _READ_FILE | _READ_DIRECTORY


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scope", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def version() -> int:
    """Returns the version that the kernel offers, 0 where it has none."""
    try:
        return kernel.system_call(_CREATE, "landlock", None, ctypes.c_size_t(0), _GET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def restrict(version: int) -> None:
    """Confines this process, for good, and what it starts.

    Files can be read and run, and written in ``/tmp`` and as devices only. No port of TCP can be
    bound or connected to; no abstract socket or process can be reached that is not confined too.

    Args:
      version: that the kernel offers.
    """
    files, network, scope = (
        sum(rights for since, rights in kinds.items() if since <= version)
        for kinds in (_FILES, _NETWORK, _SCOPES)
    )
    ruleset = _Ruleset(files, network, scope)
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    rules = kernel.system_call(_CREATE, "landlock", ctypes.byref(ruleset), size, 0)
    try:
        for directory, allowed in (
            ("/", _READ),
            ("/dev", _READ | _WRITE_FILE),
            ("/tmp", files & ~_DEVICE_NODES),
        ):
            _allow(rules, directory, allowed & files)
        kernel.system_call(_RESTRICT, "landlock", rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, directory: str, allowed: int) -> None:
    opened = os.open(directory, os.O_PATH)
    try:
        beneath = _Beneath(allowed, opened)
        kernel.system_call(_ADD_RULE, "landlock", rules, _BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(opened)
