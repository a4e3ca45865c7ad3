"""Judges programs: one checker for the feedback of the loop and for the score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ocijax.judge.compare import is_right
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.sandbox.result import Outcome
from ocijax.sandbox.sandbox import Sandbox

_LEAST_SECONDS = 2.0
_REFERENCE_FACTOR = 8.0
_PATIENCE = 3.0


@dataclass(frozen=True)
class SuiteVerdict:
    """How a program did on one suite.

    Attributes:
      status: ``pass``; ``fail`` (a wrong output, an exception, or no such function); ``timeout``;
        ``crash`` (the process ended, or used too much memory); ``untested`` where a suite before
        it failed already.
      case: the first test that did not pass, where one did not.
      outcome: what it gave; of loading the program, where ``case`` is ``None``.
    """

    status: Literal["pass", "fail", "timeout", "crash", "untested"]
    case: TestCase | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Verdict:
    """How a program did on a task's suites, by name."""

    suites: Mapping[str, SuiteVerdict]

    @property
    def passed_base(self) -> bool:
        """Whether every base test passed."""
        return self.suites["base"].status == "pass"

    @property
    def passed_plus(self) -> bool | None:
        """Whether every base and plus test passed; ``None`` where the task has no plus tests."""
        if "plus" not in self.suites:
            return None
        return self.passed_base and self.suites["plus"].status == "pass"


@dataclass(frozen=True)
class PublicResult:
    """How a program did on the tests that may be shown.

    Attributes:
      passed: every one; where a task has none: the program could be loaded.
      failure: the first test that did not pass, and what it gave.
      load: how loading the program went.
      stdout: what was printed.
    """

    passed: bool
    failure: tuple[TestCase, Outcome] | None
    load: Outcome
    stdout: str


async def check(sandbox: Sandbox, task: Task, program: str) -> Verdict:
    """Judges a program by the task's scoring suites, in their order, up to the first failure.

    All suites share one process. An input may take eight times as long as the reference, at least
    two seconds; where one takes longer, everything is repeated once with three times that, so that
    a busy machine does not turn a right answer into a wrong one.
    """
    suites = [(suite, case) for suite in task.suites.values() for case in suite.cases]
    seconds = [
        limit for suite in task.suites.values() for limit in suite.seconds or [0] * len(suite.cases)
    ]
    limits = [max(_LEAST_SECONDS, _REFERENCE_FACTOR * reference) for reference in seconds]
    load, failure = await _first_failure(sandbox, task, program, suites, limits)
    verdicts: dict[str, SuiteVerdict] = {}
    if load.status != "ok":
        lost = SuiteVerdict(_status(load), None, load)
        return Verdict(dict.fromkeys(task.suites, lost))
    start = 0
    for name, suite in task.suites.items():
        end = start + len(suite.cases)
        if failure is None or failure[0] >= end:
            verdicts[name] = SuiteVerdict("pass")
        elif failure[0] >= start:
            index, outcome = failure
            verdicts[name] = SuiteVerdict(_status(outcome), suites[index][1], outcome)
        else:
            verdicts[name] = SuiteVerdict("untested")
        start = end
    return Verdict(verdicts)


async def run_public(sandbox: Sandbox, task: Task, program: str) -> PublicResult:
    """Runs the tests that may be shown, up to the first that does not pass."""
    suite = Suite(task.public_tests)
    if "base" in task.suites:
        base = task.suites["base"]
        suite = Suite(task.public_tests, base.atol, base.oracle)
    cases = [(suite, case) for case in task.public_tests]
    limits = [_LEAST_SECONDS] * len(cases)
    stdout: list[str] = []
    load, failure = await _first_failure(sandbox, task, program, cases, limits, stdout)
    found = None if failure is None else (cases[failure[0]][1], failure[1])
    return PublicResult(load.status == "ok" and found is None, found, load, stdout[-1])


async def _first_failure(
    sandbox: Sandbox,
    task: Task,
    program: str,
    cases: Sequence[tuple[Suite, TestCase]],
    limits: Sequence[float],
    stdout: list[str] | None = None,
) -> tuple[Outcome, tuple[int, Outcome] | None]:
    """How loading went, and the first case that does not pass, by index, with its outcome."""

    def failed(index: int, outcome: Outcome) -> bool:
        suite, case = cases[index]
        return outcome.status != "ok" or not is_right(suite, case, outcome.value)

    inputs = [case.arguments for _, case in cases]
    for patience in (1.0, _PATIENCE):
        result = await sandbox.call(
            program,
            task.entry_point,
            inputs,
            wall_seconds=[patience * limit for limit in limits],
            stop=failed,
        )
        if stdout is not None:
            stdout.append(result.stdout)
        if result.load.status != "ok":
            return result.load, None
        failure = None
        # The call stops at the first failure, so only the last outcome can be one.
        last = len(result.outcomes) - 1
        if result.outcomes and failed(last, result.outcomes[last]):
            failure = last, result.outcomes[last]
        elif len(result.outcomes) < len(cases):
            failure = last + 1, Outcome("killed", None, "the program ended before this test")
        if failure is None or failure[1].status != "timeout":
            break
    return result.load, failure


def _status(outcome: Outcome) -> Literal["fail", "timeout", "crash"]:
    if outcome.status == "timeout":
        return "timeout"
    return "crash" if outcome.status in ("killed", "memory", "output") else "fail"
