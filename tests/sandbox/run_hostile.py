"""Judges hostile programs, one after the other, and prints what each did: a JSON line a case.

Runs in an arena only: ``run_hostile.py OUTSIDE LEVEL CASE...``, where OUTSIDE are the namespaces of
who asked, LEVEL is that of the sandbox, and CASE a name of the suite; see `observe` for the lines.
"""

import asyncio
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

from ocijax.judge.checker import PublicResult, SuiteVerdict, check
from ocijax.refine.feedback import public_feedback
from ocijax.sandbox import CallResult, Sandbox
from tests.sandbox import arena
from tests.sandbox.aftermath import Canaries, Footprint, left_running
from tests.sandbox.suite import CASES, DEADLINE_SECONDS, LIMITS, TASK

SECRET = "OCIJAX_SECRET"
PLAIN = ("ok_plain", "wrong_answer")
_SETTLING_SECONDS = 0.3
_CPU_SECONDS = 2.0  # to take all memory that is allowed, be the host slow to give it


class Harness:
    """Judges as scoring does, but with the suite's own deadline by the clock.

    Args:
      sandbox: runs the programs.
    """

    def __init__(self, sandbox: Sandbox):
        self._sandbox = sandbox
        self.result: CallResult | None = None

    async def call(self, *arguments, wall_seconds, **settings) -> CallResult:
        """What the checker asks of a `Sandbox`; keeps what came back."""
        settings["wall_seconds"] = [min(seconds, DEADLINE_SECONDS) for seconds in wall_seconds]
        settings["cpu_seconds"] = _CPU_SECONDS
        self.result = await self._sandbox.call(*arguments, **settings)
        return self.result

    async def judge(self, name: str) -> SuiteVerdict:
        """The verdict on a case."""
        return (await check(self, TASK, CASES[name].program)).suites["base"]

    def report(self, verdict: SuiteVerdict) -> dict[str, Any]:
        """What would be kept of the run last judged, and shown to a model."""
        failure = None if verdict.case is None else (verdict.case, verdict.outcome)
        passed = verdict.status == "pass"
        public = PublicResult(passed, failure, self.result.load, self.result.stdout)
        return {
            "verdict": verdict.status,
            "feedback": "" if passed else public_feedback(TASK, public),
            "errors": [outcome.error for outcome in (self.result.load, *self.result.outcomes)],
            "stdout": self.result.stdout,
        }


@dataclass(frozen=True)
class Idle:
    """What there is while no program runs.

    Attributes:
      processes: how many.
      harness_bytes: the most memory that this process ever held.
      all_bytes: memory of the arena, where that is known.
    """

    processes: int
    harness_bytes: int
    all_bytes: int | None

    @classmethod
    def now(cls) -> "Idle":
        """Measured once what ends has ended."""
        time.sleep(_SETTLING_SECONDS)
        held = arena.held_bytes()
        return cls(len(Footprint.taken().processes), _most_bytes(), held and held[0])


def observe(harness: Harness, canaries: Canaries, idle: Idle, name: str) -> dict[str, Any]:
    """Judges a case and looks around."""
    before, held_before = Footprint.taken(), arena.held_bytes()
    began = time.monotonic()
    verdict = asyncio.run(harness.judge(name))
    seconds = time.monotonic() - began
    running = left_running(idle.processes)
    report = harness.report(verdict)
    after, held = Footprint.taken(), arena.held_bytes()
    more = held is not None and held[1] > held_before[1]  # the most ever, but since when?
    return {
        "case": name,
        "verdict": verdict.status,
        "seconds": seconds,
        "processes_left": running,
        "files_changed": sorted(
            path
            for path in {*before.files, *after.files}
            if before.files.get(path) != after.files.get(path)
        ),
        "mounts_left": after.mounts - before.mounts,
        "ipc_left": after.ipc - before.ipc,
        "sockets_reached": canaries.touched(),
        "stdout_bytes": len(report["stdout"].encode()),
        "unserialisable": _trouble(report),
        "secret_in_report": os.environ[SECRET] in repr((report, harness.result)),
        "harness_bytes": _most_bytes() - idle.harness_bytes,
        "all_bytes": held[1] - idle.all_bytes if more else 0,
        "next_verdicts": [asyncio.run(harness.judge(plain)).status for plain in PLAIN],
    }


def _most_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _trouble(report: dict[str, Any]) -> str:
    try:
        json.dumps(report, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        return str(error)
    return ""


def start(outside: str, level: str) -> tuple[Sandbox, Canaries]:
    """Makes sure that this is an arena, and sets up in it what programs are to be kept from."""
    arena.require(json.loads(outside))
    answers = [case.expected for case in TASK.suites["base"].cases]
    return Sandbox(LIMITS, level, ("numpy",)), Canaries(os.environ[SECRET], answers)


def main(outside: str, level: str, *names: str) -> None:
    """Runs the cases named, in their order."""
    sandbox, canaries = start(outside, level)
    harness = Harness(sandbox)
    for plain in ("ok_uses_stdlib", *PLAIN):
        asyncio.run(harness.judge(plain))
    idle = Idle.now()
    for name in names:
        print(json.dumps(observe(harness, canaries, idle, name)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
