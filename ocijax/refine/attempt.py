"""One answer and what became of it: its program, run on tests, and the feedback on that."""

from collections.abc import Sequence
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
    elif tests == "public":
        result = await run_public(sandbox, task, program)
        feedback = "" if result.passed else public_feedback(task, result, wording)
    else:
        suites = ("base", "plus") if tests == "plus" else ("base",)
        feedback = await _scoring_feedback(sandbox, task, program, suites, wording)
    return Attempt(
        reply=completion.text,
        program=program,
        passed=not feedback,
        feedback=feedback,
        generated_tokens=completion.generated_tokens,
        finish_reason=completion.finish_reason,
    )


async def _scoring_feedback(
    sandbox: Sandbox, task: Task, program: str, suites: Sequence[str], wording: Wording
) -> str:
    """What the first failing test that scores gave; empty where none fails.

    As in the evaluation of arXiv 2402.14658: that of the base suite, or else that of the plus
    suite; both where the first gave a wrong output. Each is cut by itself.
    """
    told = []
    for name in suites:
        if name not in task.suites:
            continue
        one = replace(task, suites={name: task.suites[name]})
        verdict = (await check(sandbox, one, program)).suites[name]
        if verdict.status == "pass":
            continue
        told.append(_suite_feedback(task, verdict, wording).removeprefix(wording.label))
        if verdict.case is None or verdict.outcome.status != "ok":
            break
    return wording.label + "\n".join(told) if told else ""


def _program(completion: Completion, task: Task, sanitizer: str) -> str | None:
    # EvalPlus's ways are for Python.
    if sanitizer == "fenced" or task.language != PYTHON:
        return extract_code(completion.text, task.definition, task.language)
    return SANITIZERS[sanitizer](completion.text, task.entry_point)


def _suite_feedback(task: Task, verdict: SuiteVerdict, wording: Wording) -> str:
    if verdict.case is None:
        return load_feedback(verdict.outcome, task.entry_point, wording)
    return failure_feedback(task.entry_point, verdict.case, verdict.outcome, wording)
