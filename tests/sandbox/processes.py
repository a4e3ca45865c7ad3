"""What the tests see of the host's processes."""

import time
from collections.abc import Callable
from pathlib import Path


def named(name: str) -> list[int]:
    """The processes that carry a name of at most 15 characters."""
    found = []
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            if place.read_text().strip() == name:
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def family(pid: int) -> set[tuple[int, str]]:
    """All processes below one, by number and start, which no other process shares."""
    parents, starts = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        child = int(place.parent.name)
        parents[child], starts[child] = int(fields[1]), fields[19]
    below, more = set(), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        below |= more
    return {(child, starts[child]) for child in below}


def alive(members: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of a family that have not ended, wherever their parents are now."""
    return {one for one in members if _start(one[0]) == one[1]}


def _start(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def wait_until(condition: Callable[[], object]) -> None:
    """Returns once ``condition`` holds; fails the test where it does not within 20 s."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
