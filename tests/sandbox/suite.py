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
      must_hold: the promises that it is after, by name, besides ``always``: every one.
    """

    name: str
    attack: str
    accept: frozenset[str]
    must_hold: frozenset[str]

    @property
    def program(self) -> str:
        """Its source."""
        return (_PLACE / f"{self.name}.py").read_text()


CASES = {
    row["name"]: Case(
        row["name"],
        row["attack"],
        frozenset(row["accept"]),
        frozenset(promise.partition(":")[0] for promise in row["must_hold"]),
    )
    for row in _MANIFEST["cases"]
}

PROMISES = frozenset(_MANIFEST["always"])
"""Names of what must be true after every case."""

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
