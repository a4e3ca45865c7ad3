"""Judges thousands of programs, good and hostile, and prints what has piled up.

Runs in an arena only: ``run_mixed.py OUTSIDE LEVEL RUNS``, as `run_hostile.py`. The JSON lines are
the footprint after the first runs, that after the last, and the verdicts that were wrong.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tests.sandbox.aftermath import Footprint
from tests.sandbox.run_hostile import Harness, start
from tests.sandbox.suite import CASES, cases_at

_WARM_UP = 0.1  # of the runs
_SLOW_ONE_IN = 50
_SETTLING_SECONDS = 2.0
_SLOW = {"crash_recursion", "disk_fill", "exc_huge_message", "memory_bomb", "spawn_shell"}
_ALONE = {"fork_bomb"}  # at the level limits its processes count against all others of the user


def drawn(level: str, runs: int) -> Iterator[str]:
    """Names of cases, now and then of one that takes its time."""
    names = [name for name in cases_at(level) if level == "namespaces" or name not in _ALONE]
    slow = [name for name in names if name in _SLOW or "timeout" in CASES[name].accept]
    quick = [name for name in names if name not in slow]
    chance = random.Random(0)
    for index in range(runs):
        yield chance.choice(quick if index % _SLOW_ONE_IN else slow)


async def judge_all(sandbox, names: Iterator[str]) -> list[tuple[str, str]]:
    """Judges as many at a time as the sandbox does; returns the cases judged wrongly, and how."""
    wrong = []

    async def work() -> None:
        harness = Harness(sandbox)
        for name in names:
            verdict = (await harness.judge(name)).status
            if verdict not in CASES[name].accept:
                wrong.append((name, verdict))

    await asyncio.gather(*(work() for _ in range(sandbox.concurrency)))
    return wrong


def settled() -> dict[str, Any]:
    """The footprint once what ends has ended, as numbers."""
    time.sleep(_SETTLING_SECONDS)
    footprint = asdict(Footprint.taken())
    return footprint | {name: len(footprint[name]) for name in ("processes", "files")}


def main(outside: str, level: str, runs: str) -> None:
    """Runs the mix."""
    sandbox, canaries = start(outside, level)
    first = int(int(runs) * _WARM_UP)
    wrong = asyncio.run(judge_all(sandbox, drawn(level, first)))
    print(json.dumps(settled()), flush=True)
    wrong += asyncio.run(judge_all(sandbox, drawn(level, int(runs) - first)))
    print(json.dumps(settled()))
    print(json.dumps({"wrong": wrong, "sockets_reached": canaries.touched()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
