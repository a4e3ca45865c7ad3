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
from typing import Any

from ocijax.judge.checker import PublicResult, SuiteVerdict, check
from ocijax.refine.feedback import public_feedback
from ocijax.sandbox import CallResult, Sandbox
from tests.sandbox import arena
from tests.sandbox.aftermath import Canaries, Footprint, left_running
from tests.sandbox.suite import CASES, DEADLINE_SECONDS, LIMITS, TASK

SECRET = "OCIJAX_SECRET"
_SETTLING_SECONDS = 0.3


class Harness:
    """Judges as scoring does, but with the suite's own deadline by the clock.

    Args:
      level: of the sandbox.
    """

    def __init__(self, level: str):
        self._sandbox = Sandbox(LIMITS, level, ("numpy",))
        self.result: CallResult | None = None

    async def call(self, *arguments, wall_seconds, **settings) -> CallResult:
        """What the checker asks of a `Sandbox`; keeps what came back."""
        wall_seconds = [min(seconds, DEADLINE_SECONDS) for seconds in wall_seconds]
        self.result = await self._sandbox.call(*arguments, wall_seconds=wall_seconds, **settings)
        return self.result

    def judge(self, name: str) -> SuiteVerdict:
        """The verdict on a case."""
        return asyncio.run(check(self, TASK, CASES[name].program)).suites["base"]

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


def observe(harness: Harness, canaries: Canaries, name: str, idle: int) -> dict[str, Any]:
    """Judges a case and looks around.

    Args:
      harness: judges it, and two plain programs after it.
      canaries: what it must not reach.
      name: of the case.
      idle: processes there are while nothing runs.
    """
    before, most = Footprint.taken(), arena.peak_bytes()
    began = time.monotonic()
    verdict = harness.judge(name)
    seconds = time.monotonic() - began
    running = left_running(idle)
    report = harness.report(verdict)
    after, most_after = Footprint.taken(), arena.peak_bytes()
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
        "harness_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        "all_bytes": most_after if most != most_after else None,
        "next_verdicts": [harness.judge(plain).status for plain in ("ok_plain", "wrong_answer")],
    }


def _trouble(report: dict[str, Any]) -> str:
    try:
        json.dumps(report, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        return str(error)
    return ""


def main(outside: str, level: str, *names: str) -> None:
    """Runs the cases named, in their order."""
    arena.require(json.loads(outside))
    answers = [case.expected for case in TASK.suites["base"].cases]
    canaries = Canaries(os.environ[SECRET], answers)
    harness = Harness(level)
    for plain in ("ok_plain", "ok_uses_stdlib", "wrong_answer"):
        harness.judge(plain)
    time.sleep(_SETTLING_SECONDS)
    idle = len(Footprint.taken().processes)
    for name in names:
        print(json.dumps(observe(harness, canaries, name, idle)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
