"""The hostile suite: what its programs are, and what a sound sandbox says of each."""

import json
from dataclasses import dataclass
from pathlib import Path

from ocijax.judge.task import Suite, Task, TestCase
from ocijax.sandbox import Limits

_PLACE = Path(__file__).with_name("hostile")
_MANIFEST = json.loads((_PLACE / "manifest.json").read_text())
_TESTS = _MANIFEST["tests"]
_LIMITS = _TESTS["suggested_limits"]


@dataclass(frozen=True)
class Case:
    """One program of the suite.

    Attributes:
      name: of the case, and of its file without the ending.
      attack: what it does, in words.
      accept: the verdicts that are sound.
    """

    name: str
    attack: str
    accept: tuple[str, ...]

    @property
    def program(self) -> str:
        """Its source."""
        return (_PLACE / f"{self.name}.py").read_text()


CASES = {
    row["name"]: Case(row["name"], row["attack"], tuple(row["accept"]))
    for row in _MANIFEST["cases"]
}

_BEYOND_LIMITS = {
    "the host's files can be read and written": (
        "daemon_double_fork",
        "delete_files",
        "disk_fill",
        "leak_disk_secret",
        "shadow_modules",
        "spawn_shell",
    ),
    "the host's processes of the same user can be seen, read, traced, stopped and killed": (
        "leak_env_secret",
        "leak_parent_memory",
        "leak_proc_listing",
        "ptrace_parent",
        "stop_parent",
    ),
    "the host's network can be used": ("net_listen_bind", "net_loopback"),
    "who was root stays it, without capabilities, and /proc and /sys are the host's": (
        "priv_cgroup_write",
        "priv_probe",
    ),
}
"""What the level ``limits`` does not even try to prevent, and the cases that show it."""


def cases_at(level: str) -> list[str]:
    """Names of the cases that an isolation level must get right."""
    if level == "namespaces":
        return list(CASES)
    beyond = {name for names in _BEYOND_LIMITS.values() for name in names}
    return [name for name in CASES if name not in beyond]


TASK = Task(
    "hostile",
    "Add two numbers.",
    _TESTS["entry_point"],
    suites={
        "base": Suite(
            tuple(
                TestCase(tuple(arguments), expected)
                for arguments, expected in zip(_TESTS["inputs"], _TESTS["expected"], strict=True)
            )
        )
    },
)
"""What the programs pretend to solve."""

DEADLINE_SECONDS = float(_TESTS["suggested_deadline_s"])

LIMITS = Limits(
    wall_seconds=DEADLINE_SECONDS,
    memory_bytes=_LIMITS["memory_mib"] << 20,
    file_bytes=_LIMITS["scratch_mib"] << 20,
    processes=_LIMITS["processes"],
    output_bytes=_LIMITS["output_kib"] << 10,
)
