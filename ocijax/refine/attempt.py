"""One answer and what became of it: its program, run on tests, and the feedback on that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ocijax.judge.checker import SuiteVerdict, check, run_public
from ocijax.judge.task import Task
from ocijax.prompts.prompts import Wording
from ocijax.refine.extract import extract_code
from ocijax.refine.feedback import (
    OURS,
    failure_feedback,
    load_feedback,
    no_code_feedback,
    public_feedback,
)
from ocijax.refine.sanitize import SANITIZERS
from ocijax.sample.settings import Completion
from ocijax.sandbox.languages import PYTHON
from ocijax.sandbox.result import Outcome
from ocijax.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Attempt:
    """One answer and what became of it.

    Attributes:
      reply: the answer.
      program: the code found in it, or ``None``.
      passed: whether it passed the tests that end a task; where they are those that may be shown
        and the task has none, whether it could be loaded.
      feedback: what its execution says; empty where it passed.
      generated_tokens: of the answer.
      finish_reason: as in `Completion`.
      status: how the first test ended that failed, as in `Outcome`: ``ok`` where it gave a wrong
        output, or where all passed; ``load`` where the program failed before any test, ``no_code``
        where there is none. Empty in rows of runs before it was recorded.
      afresh: whether it was asked for without a word of the answers before.
    """

    reply: str
    program: str | None
    passed: bool
    feedback: str
    generated_tokens: int
    finish_reason: str
    status: str = ""
    afresh: bool = False


Tests = Literal["public", "base", "plus"]
"""Those that end a task: that may be shown, or that score; ``plus`` stands for base and plus."""


async def try_answer(
    sandbox: Sandbox,
    task: Task,
    completion: Completion,
    *,
    tests: Tests = "public",
    wording: Wording = OURS,
    sanitizer: str = "fenced",
) -> Attempt:
    """Finds the program in an answer and runs it on tests.

    Args:
      sandbox: runs the program.
      task: whose tests those are.
      completion: the answer.
      tests: which.
      wording: of the feedback.
      sanitizer: how the program is found, one of `ocijax.refine.sanitize.SANITIZERS`.
    """
    program = _program(completion, task, sanitizer)
    if program is None:
        feedback = no_code_feedback(task.language, task.entry_point, wording)
        tried = _Tried("no_code", False, feedback)
    elif tests == "public":
        tried = await _try_public(sandbox, task, program, wording)
    else:
        suites = ("base", "plus") if tests == "plus" else ("base",)
        tried = await _try_scoring(sandbox, task, program, suites, wording)
    return Attempt(
        reply=completion.text,
        program=program,
        passed=tried.passed,
        feedback=tried.feedback,
        generated_tokens=completion.generated_tokens,
        finish_reason=completion.finish_reason,
        status=tried.status,
    )


class _Tried(NamedTuple):
    """What became of a program; fields as of `Attempt`."""

    status: str
    passed: bool
    feedback: str = ""


async def _try_public(sandbox: Sandbox, task: Task, program: str, wording: Wording) -> _Tried:
    result = await run_public(sandbox, task, program)
    if result.passed:
        return _Tried("ok", True)
    status = _load_status(result.load) if result.failure is None else result.failure[1].status
    return _Tried(status, False, public_feedback(task, result, wording))


async def _try_scoring(
    sandbox: Sandbox, task: Task, program: str, suites: Sequence[str], wording: Wording
) -> _Tried:
    """Tells what the first failing test that scores gave.

    As in the evaluation of arXiv 2402.14658: that of the base suite, or else that of the plus
    suite; both where the first gave a wrong output. Each is cut by itself.
    """
    told, statuses = [], []
    for name in suites:
        if name not in task.suites:
            continue
        one = replace(task, suites={name: task.suites[name]})
        verdict = (await check(sandbox, one, program)).suites[name]
        if verdict.status == "pass":
            continue
        told.append(_suite_feedback(task, verdict, wording).removeprefix(wording.label))
        outcome = verdict.outcome
        statuses.append(_load_status(outcome) if verdict.case is None else outcome.status)
        if statuses[-1] != "ok":
            break
    if not told:
        return _Tried("ok", True)
    return _Tried(statuses[0], False, wording.label + "\n".join(told))


def _load_status(load: Outcome) -> str:
    return "load" if load.status == "error" else load.status


def _program(completion: Completion, task: Task, sanitizer: str) -> str | None:
    # EvalPlus's ways are for Python.
    if sanitizer == "fenced" or task.language != PYTHON:
        return extract_code(completion.text, task.definition, task.language)
    return SANITIZERS[sanitizer](completion.text, task.definition)


def _suite_feedback(task: Task, verdict: SuiteVerdict, wording: Wording) -> str:
    if verdict.case is None:
        return load_feedback(verdict.outcome, task.entry_point, wording)
    return failure_feedback(task.entry_point, verdict.case, verdict.outcome, wording)
