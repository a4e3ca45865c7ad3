"""The kind of error is told by how an attempt ended and by what its run gave."""

import asyncio
from dataclasses import replace

import pytest

from ocijax.judge.checker import run_public
from ocijax.judge.task import CodeTest, StdinTest, Suite, Task, TestCase
from ocijax.prompts.prompts import load_prompts
from ocijax.refine.feedback import (
    OURS,
    failure_feedback,
    load_feedback,
    no_code_feedback,
    public_feedback,
)
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


IN_OTHER_WORDS = replace(
    OURS,
    label="Result:\n",
    wrong="Not {actual}.",
    wrong_stdout="Not this.",
    missing="Call it {entry_point}.",
    no_code="Nothing.",
    timeout="Slow.",
    memory="Big.",
    output="Long.",
    killed="Dead.",
    unknown="Bad.",
)


def attempt(feedback: str, program: str | None = "x", passed: bool = False, **known) -> dict:
    return {"program": program, "passed": passed, "feedback": feedback, **known}


def tried(sandbox, test, program, wording=OURS):
    """An attempt whose program was run on a test, as a row has it."""
    task = replace(TASK, public_tests=(test,), suites={"base": Suite((test,))})
    result = asyncio.run(run_public(sandbox, task, program))
    status = "load" if result.failure is None else result.failure[1].status
    return attempt(public_feedback(task, result, wording), program, status=status)


PROGRAMS = pytest.mark.parametrize(
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


@PROGRAMS
def test_kinds_of_programs_whose_status_was_not_recorded(sandbox, program, kind):
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


@PROGRAMS
@pytest.mark.parametrize("wording", [OURS, load_prompts("paper").wording, IN_OTHER_WORDS])
def test_kinds_do_not_depend_on_the_words(sandbox, program, kind, wording):
    assert error_kind(tried(sandbox, CASE, program, wording)) == kind


UNITTEST = CodeTest("""
import unittest
class Test(unittest.TestCase):
    def test_three(self):
        self.assertEqual(f(3), 4)
    def test_one(self):
        self.assertTrue(f(1) == 2, "one more")
""")
CHECK = CodeTest("def check(candidate):\n    assert candidate(1) == 2, 'TypeError: no'\n")


@pytest.mark.parametrize("wording", [OURS, load_prompts("paper").wording])
@pytest.mark.parametrize("test", [UNITTEST, CHECK])
@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("def f(x): return x", "wrong output"),
        ("def f(x): assert x == 2", "exception"),
        ("def f(x): return x + 'a'", "type"),
        ("def f(x) return x", "syntax"),
        ("def g(x): return x", "name"),
        ("def f(x):\n    try:\n        {}[x]\n    except KeyError:\n        x + 'a'", "type"),
        (
            "def f(x):\n    try:\n        x + 'a'\n    except TypeError as e:\n"
            "        raise OSError from e",
            "exception",
        ),
    ],
)
def test_kinds_under_test_code(sandbox, test, program, kind, wording):
    assert error_kind(tried(sandbox, test, program, wording)) == kind


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("print(1)", "wrong output"),
        ("try:\n    int('x')\nexcept ValueError:\n    print(1 + 'a')", "type"),
        ("try:\n    1 + 'a'\nexcept TypeError as e:\n    raise OSError('x') from e", "exception"),
        ("import sys\nprint('TypeError: no', file=sys.stderr)\n[][0]", "exception"),
        ("print(1", "syntax"),
    ],
)
def test_kinds_of_whole_programs(sandbox, program, kind):
    assert error_kind(tried(sandbox, StdinTest("1", "2"), program)) == kind


@pytest.mark.parametrize(
    "said",
    [
        "main.cpp: In function 'int f(int)':\nmain.cpp:1:21: error: 'y' was not declared",
        "main.cpp:1:2: error: static assertion failed",
        "# command-line-arguments\n./main.go:1:52: undefined: y",
        "error[E0308]: mismatched types\n --> main.rs:1:18\nerror: aborting due to 1 error",
    ],
)
def test_what_another_languages_compiler_refuses_is_a_matter_of_syntax(said):
    feedback = load_feedback(Outcome("error", None, said))
    assert error_kind(attempt(feedback, "int f(int x) {", status="load")) == "syntax"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("main: main.cpp:4: int main(): Assertion `f(1)==2' failed.", "wrong output"),
        ('Exception in thread "main" java.lang.AssertionError: no', "wrong output"),
        ("node:assert:90\n\nAssertionError [ERR_ASSERTION]: Expected", "wrong output"),
        ("main.js:1\nReferenceError: y is not defined\n    at f (main.js:1:14)", "name"),
        ("main.js:1\nSyntaxError: Unexpected token ';'\n    at wrapSafe", "syntax"),
        ("terminate called after throwing an instance of 'int'", "exception"),
    ],
)
def test_kinds_of_what_other_languages_say(said, kind):
    feedback = failure_feedback("f", CodeTest("int main() {}"), Outcome("error", None, said))
    assert error_kind(attempt(feedback, "int f(int x) {", status="error")) == kind


def test_a_reply_without_a_program():
    assert error_kind(attempt(no_code_feedback(), None)) == "no program"


def test_an_attempt_that_passed_has_none():
    assert error_kind(attempt("", passed=True)) is None


def test_each_kind_is_explained():
    assert all(KINDS.values())
