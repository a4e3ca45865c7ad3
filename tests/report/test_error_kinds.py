"""The kind of error is read off what a program's run gave."""

import asyncio

import pytest

from ocijax.judge.checker import run_public
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.refine.feedback import failure_feedback, no_code_feedback, public_feedback
from ocijax.report.error_kinds import KINDS, error_kind
from ocijax.sandbox import Limits, Sandbox, SandboxError
from ocijax.sandbox.result import Outcome

CASE = TestCase((1,), 2, "adds one")
TASK = Task("t/0", "Define f.", "f", public_tests=(CASE,), suites={"base": Suite((CASE,))})


@pytest.fixture(scope="module")
def sandbox():
    limits = Limits(wall_seconds=20.0, memory_bytes=1 << 30)
    try:
        asyncio.run(Sandbox(limits).run(""))
        return Sandbox(limits)
    except SandboxError:
        return Sandbox(limits, isolation="limits")


def attempt(feedback: str, program: str | None = "x", passed: bool = False) -> dict:
    return {"program": program, "passed": passed, "feedback": feedback}


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("def f(x): return x", "wrong output"),
        ("def f(x) return x", "syntax"),
        ("  def f(x): return x", "syntax"),
        ("def g(x): return x", "name"),
        ("def f(x): return y", "name"),
        ("def f(x):\n    print(y)\n    y = 1", "name"),
        ("def f(x): return x + 'a'", "type"),
        ("def f(x): return [][x]", "exception"),
        ("def f(x): assert x == 2, 'TypeError: no'", "exception"),
        ("def f(x): raise ValueError('a\\nTypeError: b')", "exception"),
        ("class TypeErrors(Exception): pass\ndef f(x): raise TypeErrors", "exception"),
        ("class E(Exception): pass\ndef f(x): raise E('w' * 4000)", "exception"),
        ("import nothing_of_this_name", "exception"),
        ("def f(x): return f(x)", "exception"),
        ("def f(x): return [0] * 10**12", "memory"),
        ("import os\ndef f(x): os.abort()", "crash"),
    ],
)
def test_kinds_of_programs_that_were_run(sandbox, program, kind):
    result = asyncio.run(run_public(sandbox, TASK, program))
    assert error_kind(attempt(public_feedback(TASK, result), program)) == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("timeout", "time-out"),
        ("memory", "memory"),
        ("killed", "crash"),
        ("output", "crash"),
        ("error", "exception"),
    ],
)
def test_kinds_of_programs_that_were_stopped(status, kind):
    feedback = failure_feedback("f", CASE, Outcome(status, None, ""))
    assert error_kind(attempt(feedback)) == kind


def test_a_reply_without_a_program():
    assert error_kind(attempt(no_code_feedback(), None)) == "no program"


def test_an_attempt_that_passed_has_none():
    assert error_kind(attempt("", passed=True)) is None


def test_each_kind_is_explained():
    assert all(KINDS.values())
