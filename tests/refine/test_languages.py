"""The loop from a wrong answer to a right one, on whole programs in every language here."""

import asyncio

import pytest

from ocijax.judge.checker import check
from ocijax.judge.task import CodeTest, StdinTest, Suite, Task
from ocijax.refine.loop import begin, refine
from ocijax.sample.replay import Replay
from ocijax.sample.settings import SamplingSettings
from tests.judge.programs import ADDS, DIFFERENCES, SUMS
from tests.toolchains import needs


def solve(sandbox, task, *answers):
    """The trajectory of these answers, and the verdict on what it ended with."""
    needs(task.language)
    generator = Replay({task.task_id: answers})
    [trajectory] = asyncio.run(refine(generator, sandbox, [begin(task)], SamplingSettings(), 2))
    return trajectory, asyncio.run(check(sandbox, task, trajectory.program))


def answer(program, mark):
    return f"Here it is.\n\n```{mark}\n{program}```\n"


@pytest.mark.parametrize("language", SUMS)
def test_a_program_is_repaired_after_it_printed_something_wrong(sandbox, language):
    task = Task(
        "sum/0",
        "Read two numbers and print their sum.",
        public_tests=(StdinTest("7 3\n", "10\n"),),
        suites={"base": Suite((StdinTest("20 22\n", "42\n"),))},
        language=language,
    )
    wrong, right = (answer(programs[language], language) for programs in (DIFFERENCES, SUMS))
    trajectory, verdict = solve(sandbox, task, wrong, right)
    printed = "9" if language == "rust" else "4"
    assert trajectory.attempts[0].feedback == (
        "Execution result:\n"
        "The program printed a wrong output.\n"
        f"Input:\n7 3\nExpected output:\n10\nActual output:\n{printed}"
    )
    assert [attempt.passed for attempt in trajectory.attempts] == [False, True]
    assert verdict.passed_base


@pytest.mark.parametrize("language", ["c++", "go"])
def test_what_the_compiler_says_is_told(sandbox, language):
    program, code = ADDS[language]
    suites = {"base": Suite((CodeTest(code),))}
    task = Task("add/0", "Write add.", "add", suites=suites, language=language)
    broken = program.replace("a + b", "a + c")
    trajectory, verdict = solve(sandbox, task, answer(broken, language), answer(program, language))
    feedback = trajectory.attempts[0].feedback
    assert feedback.startswith("Execution result:\n")
    line = 1 + next(index for index, text in enumerate(broken.splitlines()) if "a + c" in text)
    assert f":{line}" in feedback
    assert [attempt.passed for attempt in trajectory.attempts] == [False, True]
    assert verdict.passed_base
