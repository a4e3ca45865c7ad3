"""A directory on the host's disk for jobs that have no namespaces of their own."""

import os


def make(path: str) -> None:
    """Makes an empty directory that only this user may enter."""
    os.mkdir(path, 0o700)


def remove(path: str) -> None:
    """Removes what is there, also what is too deep for Python or has no permission bits left."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        if _run("rm", "-rf", path) != 0:
            _run("chmod", "-R", "u+rwx", path)
            _run("rm", "-rf", path)


def _run(*words: str) -> int:
    """Runs a command; returns its exit status."""
    return os.waitpid(os.posix_spawnp(words[0], words, {"PATH": os.defpath}), 0)[1]
