"""Puts a read-only view of the host in place of its files."""

import os
import stat

import kernel

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LINKS = {"/dev/shm": "/tmp"}
_PROCESS_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "fd/0",
    "/dev/stdout": "fd/1",
    "/dev/stderr": "fd/2",
}
_STAGE = "/tmp"
_DETACH = 2


def enter(shown: dict[str, str], processes: bool) -> None:
    """Leaves the host's files behind, for good, and all mounts but those of the view.

    There are the system's libraries and programs, a few devices, an empty ``/tmp`` to mount a
    scratch directory on, and what is named.

    Args:
      shown: further paths of the host, from where they are to where they shall be.
      processes: whether there is a ``/proc``, to mount another on, and the devices that are links
        into it; what the host's shows can be read until then.
    """
    kernel.call("unshare", kernel.NEW_MOUNT)
    kernel.mount("none", "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    links = dict(_LINKS)
    if processes:
        shown = shown | {"/proc": "/proc"}
        links |= _PROCESS_LINKS
    for path in _SYSTEM:
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.exists(path):
            shown = {path: path} | shown
    _build(shown, links)
    os.chdir(_STAGE)
    kernel.call("pivot_root", b".", b".")
    kernel.call("umount2", b".", _DETACH)
    os.chdir("/")


def _build(shown: dict[str, str], links: dict[str, str]) -> None:
    """Mounts on `_STAGE` a root directory with ``shown``, ``links`` and the devices."""
    devices = {path: path for path in _DEVICES}
    # Opened before the stage is mounted, which may cover them.
    sources = {path: os.open(path, os.O_PATH) for path in (*shown, *devices)}
    flags = kernel.NOSUID | kernel.NODEV
    kernel.mount("tmpfs", _STAGE, "tmpfs", flags, "size=1m,mode=755")
    for path, target in (shown | devices).items():
        _make_mount_point(_STAGE + target, stat.S_ISDIR(os.stat(sources[path]).st_mode))
    for path, target in links.items():
        os.symlink(target, _STAGE + path)
    os.makedirs(f"{_STAGE}/tmp", exist_ok=True)
    for path, target in sorted(shown.items(), key=lambda bind: len(bind[1])):
        if not _covered(target, shown.values()):
            _bind(sources[path], target)
    kernel.change_mounts(_STAGE, kernel.READ_ONLY | flags)
    for path, target in devices.items():
        _bind(sources[path], target)
    for descriptor in sources.values():
        os.close(descriptor)


def _bind(source: int, target: str) -> None:
    place = f"/proc/self/fd/{source}"
    kernel.mount(place, _STAGE + target, None, kernel.BIND | kernel.RECURSIVE)


def _covered(target: str, targets) -> bool:
    return any(target.startswith(other.rstrip("/") + "/") for other in targets)


def _make_mount_point(path: str, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
