"""What becomes of one answer."""

import asyncio
from dataclasses import replace

import pytest

from ocijax.judge.task import StdinTest, Suite, Task, TestCase
from ocijax.prompts.prompts import load_prompts, turns
from ocijax.refine.attempt import Attempt, try_answer
from ocijax.sample.settings import Completion
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import Sandbox
from tests.refine.conftest import answer, make_task


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """Soon tired of a program that cannot be loaded."""
    return Sandbox(Limits(wall_seconds=2.0))


@pytest.fixture
def attempt(sandbox):
    def attempt(task: Task, reply: str, **options) -> Attempt:
        return asyncio.run(try_answer(sandbox, task, Completion(reply, (1,), "stop"), **options))

    return attempt


def program(text: str) -> str:
    return f"```python\n{text}\n```"


@pytest.mark.parametrize("tests", ["public", "plus"])
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (answer(1), "ok"),
        (answer(2), "ok"),
        (program("def solve(x):\n    return 1 // x - y"), "error"),
        (program("def solve(x):\n    while True: pass"), "timeout"),
        (program("import os\ndef solve(x):\n    os.abort()"), "killed"),
        (program("def solve(x) return x"), "load"),
        (program("def add(x):\n    return x + 1"), "load"),
        (program("while True: pass\ndef solve(x): return x"), "timeout"),
        ("Add one.", "no_code"),
    ],
)
def test_it_says_how_the_first_failing_test_ended(attempt, reply, status, tests):
    assert attempt(make_task(1), reply, tests=tests).status == status


@pytest.mark.parametrize("tests", ["public", "plus"])
@pytest.mark.parametrize(("reply", "passed"), [(answer(1), True), (answer(2), False), ("", False)])
def test_who_is_told_nothing_has_passed_only_if_the_tests_did(attempt, reply, passed, tests):
    silent = replace(turns().wording, label="", wrong="", no_code="")
    made = attempt(make_task(1), reply, tests=tests, wording=silent)
    assert (made.passed, made.feedback) == (passed, "")


@pytest.mark.parametrize("sanitizer", ["fenced", "evalplus"])
def test_of_a_method_the_class_is_looked_for(attempt, sanitizer):
    task = Task(
        "leet/1",
        "Add one.",
        "Solution().increase",
        suites={"base": Suite((TestCase((1,), 2),))},
    )
    reply = program(
        "import math\nclass Solution:\n    def increase(self, x):\n        return x + 1"
    )
    assert attempt(task, reply, sanitizer=sanitizer, tests="base").passed


@pytest.mark.parametrize("error", ["x" * 9000, "x\n" * 4000])
def test_the_paper_cuts_feedback_at_500_characters(attempt, error):
    wording = load_prompts("paper").wording
    reply = program(f"def solve(x):\n    raise ValueError({error!r})")
    feedback = attempt(make_task(1), reply, tests="plus", wording=wording).feedback
    assert len(feedback.removeprefix(wording.label)) == 500
    assert "left out" not in feedback


def test_the_paper_cuts_each_suites_feedback_by_itself(attempt):
    wording = load_prompts("paper").wording
    task = make_task(1)
    suites = {name: Suite((TestCase(("a" * 900,), "b" * 900),)) for name in ("base", "plus")}
    reply = program("def solve(x):\n    return x")
    feedback = attempt(replace(task, suites=suites), reply, tests="plus", wording=wording).feedback
    base, plus = (
        f"The output of the program is wrong.\nInput: {'a' * 900!r}"[:500] for _ in range(2)
    )
    assert feedback == f"{wording.label}{base}\n{plus}"


def test_a_public_test_has_the_time_of_the_scoring_test_that_takes_longest(attempt):
    test = TestCase((1,), 1)
    task = Task(
        "slow/1",
        "Wait.",
        "solve",
        public_tests=(test,),
        suites={"base": Suite((test,), seconds=(0.6,))},
    )
    busy = "import time\ndef solve(x):\n    while time.process_time() < 1.6: pass\n    return x"
    assert attempt(task, program(busy)).passed


def test_whole_programs_are_told_apart_too(attempt):
    task = Task("echo/1", "Echo.", suites={"base": Suite((StdinTest("a\n", "a\n"),))})
    assert attempt(task, program("print(input())"), tests="base").status == "ok"
    assert attempt(task, program("print(input()[1])"), tests="base").status == "error"
