"""A directory on the host's disk for jobs that have no namespaces of their own."""

import itertools
import os
import stat

_MADE = stat.S_IFDIR | 0o700


def enter(path: str) -> None:
    """Makes the directory the working directory, empty and for this user only."""
    try:
        os.chdir(path)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
        os.chdir(path)


def clear(path: str) -> None:
    """Removes what is there, but for a directory that is as it was made: the next job enters that.

    On file systems that keep a journal, a directory less to make and remove is a tenth of a job.
    """
    try:
        made = os.lstat(path).st_mode == _MADE and not os.listdir(path)
    except FileNotFoundError:
        return
    if not made or os.listxattr(path):
        remove(path)


def remove(path: str) -> None:
    """Removes what is there, however deep it is nested and whatever permission bits it has.

    Directories are moved up before they are entered, so that no path ever becomes long.
    """
    try:
        os.rmdir(path)
        return
    except FileNotFoundError:
        return
    except NotADirectoryError:  # it has been replaced
        os.unlink(path)
        return
    except OSError:
        pass  # it is not empty
    unused = f"{path}/{os.urandom(8).hex()}"
    numbers = itertools.count()
    waiting = _clear(path)
    while waiting:
        place = waiting.pop()
        for inner in _clear(place):
            waiting.append(f"{unused}-{next(numbers)}")
            os.rename(inner, waiting[-1])
        os.rmdir(place)
    os.rmdir(path)


def _clear(place: str) -> list[str]:
    """Removes the files of a directory; returns its directories, which can be entered then."""
    os.chmod(place, 0o700)
    with os.scandir(place) as found:
        entries = list(found)
    directories = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
            directories.append(entry.path)
        else:
            os.unlink(entry.path)
    return directories
