"""One answer and what became of it: its program, run on tests, and the feedback on that."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

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
    """

    reply: str
    program: str | None
    passed: bool
    feedback: str
    generated_tokens: int
    finish_reason: str


Try = Callable[[Sandbox, Task, Completion], Awaitable[Attempt]]
"""Finds the program in an answer and runs it on tests."""


async def try_public_tests(
    sandbox: Sandbox,
    task: Task,
    completion: Completion,
    *,
    wording: Wording = OURS,
    sanitizer: str = "fenced",
) -> Attempt:
    """Runs the program of an answer on the tests that may be shown.

    Args:
      sandbox: runs the program.
      task: whose tests those are.
      completion: the answer.
      wording: of the feedback.
      sanitizer: how the program is found, one of `ocijax.refine.sanitize.SANITIZERS`.
    """
    program = _program(completion, task, sanitizer)
    if program is None:
        return _attempt(
            completion, None, no_code_feedback(task.language, task.entry_point, wording)
        )
    result = await run_public(sandbox, task, program)
    feedback = "" if result.passed else public_feedback(task, result, wording)
    return _attempt(completion, program, feedback)


async def try_scoring_tests(
    sandbox: Sandbox,
    task: Task,
    completion: Completion,
    *,
    wording: Wording = OURS,
    sanitizer: str = "fenced",
    tests: Literal["base", "plus"] = "plus",
) -> Attempt:
    """Runs the program of an answer on the very tests that score it, and tells of them.

    As the evaluation of arXiv 2402.14658 does: the first failing test of the base suite is told,
    or else that of the plus suite, and both where the first gave a wrong output.

    Args:
      sandbox: runs the program.
      task: whose suites those are.
      completion: the answer.
      wording: of the feedback, each part of which is cut by itself.
      sanitizer: how the program is found, one of `ocijax.refine.sanitize.SANITIZERS`.
      tests: ``base``, or ``plus`` for both suites.
    """
    program = _program(completion, task, sanitizer)
    if program is None:
        return _attempt(
            completion, None, no_code_feedback(task.language, task.entry_point, wording)
        )
    told: list[str] = []
    verdict: SuiteVerdict | None = None
    for name in ("base", "plus") if tests == "plus" else ("base",):
        if name not in task.suites or (verdict and told and not _wrong_output(verdict)):
            break
        one = replace(task, suites={name: task.suites[name]})
        verdict = (await check(sandbox, one, program)).suites[name]
        if verdict.status != "pass":
            told.append(_suite_feedback(task, verdict, wording))
    parts = [text.removeprefix(wording.label) for text in told]
    return _attempt(completion, program, wording.label + "\n".join(parts) if parts else "")


def _program(completion: Completion, task: Task, sanitizer: str) -> str | None:
    # EvalPlus's ways are for Python.
    if sanitizer == "fenced" or task.language != PYTHON:
        return extract_code(completion.text, task.definition, task.language)
    return SANITIZERS[sanitizer](completion.text, task.entry_point)


def _attempt(completion: Completion, program: str | None, feedback: str) -> Attempt:
    return Attempt(
        reply=completion.text,
        program=program,
        passed=not feedback,
        feedback=feedback,
        generated_tokens=completion.generated_tokens,
        finish_reason=completion.finish_reason,
    )


def _wrong_output(verdict: SuiteVerdict) -> bool:
    return verdict.case is not None and verdict.outcome.status == "ok"


def _suite_feedback(task: Task, verdict: SuiteVerdict, wording: Wording) -> str:
    if verdict.case is None:
        return load_feedback(verdict.outcome, task.entry_point, wording)
    return failure_feedback(task.entry_point, verdict.case, verdict.outcome, wording)
