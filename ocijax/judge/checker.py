"""Judges programs: one checker for the feedback of the loop and for the score."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ocijax.judge.assembly import assembled
from ocijax.judge.compare import is_right, tolerances
from ocijax.judge.runs import load_program, run_test
from ocijax.judge.task import CodeTest, StdinTest, Suite, Task, Test, TestCase
from ocijax.sandbox.result import Outcome
from ocijax.sandbox.sandbox import Sandbox

_LEAST_SECONDS = {TestCase: 1.0, StdinTest: 6.0, CodeTest: 10.0}
_REFERENCE_FACTOR = 4.0

_CLOCK_FACTOR = 10.0

_EVALPLUS_SUITE_SECONDS = 60.0
_EVALPLUS_GRACE = 2.0
_LATE_SECONDS = 1.0  # by which we may come to read an answer that was there in time

Evaluator = Literal["ocijax", "evalplus-0.3.1"]

EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)
"""Whose verdicts are given, see `check`."""

VALUE_BYTES = 1 << 20
"""Longer outputs are compared by digest: all of HumanEval+'s would take more than a gigabyte."""


@dataclass(frozen=True)
class SuiteVerdict:
    """How a program did on one suite.

    Attributes:
      status: ``pass``; ``fail`` (a wrong output, an exception or exit, or no such function);
        ``timeout``; ``crash`` (the process was killed, used too much memory or printed too much);
        ``untested`` where a suite before it failed already.
      case: the first test that did not pass, where one did not.
      outcome: what it gave; of loading the program, where ``case`` is ``None``.
    """

    status: Literal["pass", "fail", "timeout", "crash", "untested"]
    case: Test | None = None
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
    failure: tuple[Test, Outcome] | None
    load: Outcome
    stdout: str


@dataclass(frozen=True)
class _Trial:
    """A case with all that decides on it."""

    case: Test
    oracle: str
    atol: float
    seconds: float
    wall_seconds: float

    def passed(self, outcome: Outcome) -> bool:
        """Whether a call gave what it must."""
        return outcome.status == "ok" and is_right(
            self.case, outcome.value, self.oracle, self.atol, outcome.plain
        )


async def check(
    sandbox: Sandbox, task: Task, program: str, evaluator: Evaluator = "ocijax"
) -> Verdict:
    """Judges a program by the task's scoring suites, in their order, up to the first failure.

    Calls of all suites share one process. As in EvalPlus an input may take four times as long as
    the reference, at least what `ocijax.judge.task` says of the test's form, but on a CPU: a busy
    machine turns no right answer into a wrong one. By the clock, for programs that only wait, it is
    ten times that.

    Args:
      sandbox: runs it.
      task: whose suites score it.
      program: source text.
      evaluator: whose verdicts to give. With ``evalplus-0.3.1`` a suite passes where it does in
        that version on a machine that is not busy. So nothing passes HumanEval/32, whose tests it
        forgets to count; every suite has a process of its own, whatever became of the one before;
        and one that takes more than a minute fails. Its limits of time are kept, but on a CPU here
        too: what its clock makes of a busy machine no other run could repeat. A program that waits
        instead of working may do so for a second more. What only deceives its checker, such as an
        output that calls itself equal, does not pass.
    """
    if evaluator == "evalplus-0.3.1":
        return Verdict(
            {
                name: await _check_as_evalplus(sandbox, task, program, suite)
                for name, suite in task.suites.items()
            }
        )
    trials = {name: _trials(suite) for name, suite in task.suites.items()}
    load, failure, _ = await _first_failure(
        sandbox, task, program, [trial for suite in trials.values() for trial in suite]
    )
    if load.status != "ok":
        return Verdict(dict.fromkeys(trials, SuiteVerdict(_status(load), None, load)))
    verdicts: dict[str, SuiteVerdict] = {}
    start = 0
    for name, suite in trials.items():
        end = start + len(suite)
        if failure is None or failure[0] >= end:
            verdicts[name] = SuiteVerdict("pass")
        elif failure[0] >= start:
            index, outcome = failure
            verdicts[name] = SuiteVerdict(_status(outcome), suite[index - start].case, outcome)
        else:
            verdicts[name] = SuiteVerdict("untested")
        start = end
    return Verdict(verdicts)


async def _check_as_evalplus(
    sandbox: Sandbox, task: Task, program: str, suite: Suite
) -> SuiteVerdict:
    trials = [
        replace(trial, wall_seconds=trial.seconds + _LATE_SECONDS) for trial in _trials(suite)
    ]
    limit = min(_EVALPLUS_SUITE_SECONDS, sum(trial.seconds for trial in trials)) + _EVALPLUS_GRACE
    load, failure, _ = await _first_failure(sandbox, task, program, trials, limit)
    if load.status != "ok":
        return SuiteVerdict(_status(load), None, load)
    if failure is not None:
        index, outcome = failure
        return SuiteVerdict(_status(outcome), trials[index].case, outcome)
    return SuiteVerdict("fail" if suite.oracle == "root" else "pass")


async def run_public(sandbox: Sandbox, task: Task, program: str) -> PublicResult:
    """Runs the tests that may be shown, up to the first that does not pass.

    They are judged like the suite ``base``, each with the time of the test of it that takes
    longest: no program that passes there is too slow here.
    """
    base = task.suites.get("base", Suite(()))
    seconds = (max(base.seconds, default=0.0),) * len(task.public_tests)
    trials = _trials(Suite(task.public_tests, base.atol, base.oracle, seconds))
    load, failure, stdout = await _first_failure(sandbox, task, program, trials)
    found = None if failure is None else (trials[failure[0]].case, failure[1])
    return PublicResult(load.status == "ok" and found is None, found, load, stdout)


def _trials(suite: Suite) -> list[_Trial]:
    near = tolerances(suite.atol, (getattr(case, "expected", None) for case in suite.cases))
    references = suite.seconds or (0.0,) * len(suite.cases)
    trials = []
    for case, tolerance, reference in zip(suite.cases, near, references, strict=True):
        atol = tolerance if isinstance(case, TestCase) else suite.atol
        seconds = max(_LEAST_SECONDS[type(case)], _REFERENCE_FACTOR * reference)
        trials.append(_Trial(case, suite.oracle, atol, seconds, _CLOCK_FACTOR * seconds))
    return trials


_Found = tuple[Outcome, tuple[int, Outcome] | None, str]
"""How loading went; the first trial not passed, by index, with its outcome; what was printed."""


async def _first_failure(
    sandbox: Sandbox,
    task: Task,
    program: str,
    trials: Sequence[_Trial],
    cpu_seconds: float = math.inf,
) -> _Found:
    """Trials in their order, those of one form that follow each other together.

    Calls that follow each other fail where together they take more than ``cpu_seconds``.
    """
    if not trials:
        if all(
            isinstance(case, TestCase) for suite in task.suites.values() for case in suite.cases
        ):
            return await _first_failed_call(sandbox, task, program, trials, cpu_seconds)
        load, stdout = await load_program(sandbox, task, program)
        return load, None, stdout
    load, start, printed = Outcome("ok"), 0, ""
    for called, group in itertools.groupby(trials, lambda one: isinstance(one.case, TestCase)):
        together = list(group)
        load, failure, stdout = (
            await _first_failed_call(sandbox, task, program, together, cpu_seconds)
            if called
            else await _first_failed_run(sandbox, task, program, together)
        )
        printed += stdout
        if load.status != "ok" or failure is not None:
            return load, failure and (start + failure[0], failure[1]), printed
        start += len(together)
    return load, None, printed


async def _first_failed_run(
    sandbox: Sandbox, task: Task, program: str, trials: Sequence[_Trial]
) -> _Found:
    """Each trial has a process of its own."""
    printed = ""
    for index, trial in enumerate(trials):
        ran = await run_test(
            sandbox,
            task,
            program,
            trial.case,
            atol=trial.atol,
            cpu_seconds=trial.seconds,
            wall_seconds=trial.wall_seconds,
        )
        printed += ran.stdout
        if ran.load.status != "ok":
            return ran.load, None, printed
        if not ran.passed:
            return ran.load, (index, ran.outcome), printed
    return Outcome("ok"), None, printed


async def _first_failed_call(
    sandbox: Sandbox, task: Task, program: str, trials: Sequence[_Trial], cpu_seconds: float
) -> _Found:
    """All trials share a process; they stop at a failure."""
    left, failure = cpu_seconds, None

    def failed(index: int, outcome: Outcome) -> bool:
        nonlocal left, failure
        left -= outcome.cpu_seconds
        if left < 0:
            failure = index, Outcome("timeout", None, "all tests together took too long")
        elif not trials[index].passed(outcome):
            failure = index, outcome
        return failure is not None

    result = await sandbox.call(
        assembled(task.language, task.preamble, program),
        task.entry_point,
        [trial.case.arguments for trial in trials],
        wall_seconds=[trial.wall_seconds for trial in trials],
        cpu_seconds=[trial.seconds for trial in trials],
        value_bytes=VALUE_BYTES,
        stop=failed,
        keep=False,
    )
    outcomes = result.outcomes
    if result.load.status != "ok":
        failure = None
    elif failure is None and outcomes and outcomes[-1].status != "ok":
        failure = len(outcomes) - 1, outcomes[-1]
    elif failure is None and len(outcomes) < len(trials):
        failure = len(outcomes), Outcome("killed", None, "the program ended before this test")
    return result.load, failure, result.stdout


def _status(outcome: Outcome) -> Literal["fail", "timeout", "crash"]:
    if outcome.status == "timeout":
        return "timeout"
    return "crash" if outcome.status in ("killed", "memory", "output") else "fail"
