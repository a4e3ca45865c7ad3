"""Tests that are no calls: whole programs, and code around a program, in every language here."""

import pytest

from ocijax.judge.task import CodeTest, StdinTest, Suite, Task, TestCase
from ocijax.sandbox import Limits, Sandbox
from ocijax.sandbox.languages import LANGUAGES
from tests.judge.programs import ADDS, DIFFERENCES, SUMS
from tests.toolchains import needs

SUM = StdinTest("1 2\n", "3\n")


def task(*tests, language="python", public=(), **fields):
    """A task scored by these tests, to add."""
    return Task(
        "t", "Add.", public_tests=public, suites={"base": Suite(tests)}, language=language, **fields
    )


def base(judge, asked, program):
    """How the program did."""
    return judge.check(asked, program).suites["base"]


@pytest.mark.parametrize("language", SUMS)
def test_a_program_of_any_language_is_judged_by_what_it_prints(judge, language):
    needs(language)
    asked = task(SUM, language=language)
    assert base(judge, asked, SUMS[language]).status == "pass"
    wrong = base(judge, asked, DIFFERENCES[language])
    assert (wrong.status, wrong.case, wrong.outcome.status) == ("fail", SUM, "ok")
    assert wrong.outcome.value.strip() in ("-1", "2")  # what it printed


@pytest.mark.parametrize("language", ADDS)
def test_code_of_any_language_goes_on_from_the_program(judge, language):
    needs(language)
    program, code = ADDS[language]
    asked = task(CodeTest(code), language=language)
    assert base(judge, asked, program).status == "pass"
    wrong = base(judge, asked, program.replace("a + b", "a - b").replace("$1 + $2", "$1 - $2"))
    assert (wrong.status, wrong.case) == ("fail", CodeTest(code))


@pytest.mark.parametrize("language", [name for name in LANGUAGES if LANGUAGES[name].compile])
def test_a_program_that_does_not_compile_could_not_be_loaded(judge, language):
    needs(language)
    verdict = base(judge, task(SUM, language=language), SUMS[language] + "\n)")
    assert (verdict.status, verdict.case) == ("fail", None)
    assert "error" in verdict.outcome.error or "syntax" in verdict.outcome.error


def test_code_in_python_runs_around_the_program(judge):
    check = CodeTest("def check(candidate):\n    assert candidate(1, 2) == 3\n")
    asked = task(check, entry_point="add")
    assert base(judge, asked, "def add(a, b): return a + b").status == "pass"
    wrong = base(judge, asked, "def add(a, b): return a - b")
    assert (wrong.status, wrong.case) == ("fail", check)
    assert "assert candidate(1, 2) == 3" in wrong.outcome.error


def test_code_finds_its_files(judge):
    code = CodeTest("assert open('in.txt').read() == word", files={"in.txt": "yes"})
    assert base(judge, task(code), "word = 'yes'").status == "pass"


def test_a_method_is_called(judge):
    asked = task(TestCase((1, 2), 3), entry_point="Solution().add")
    program = "class Solution:\n    def add(self, a, b): return a + b"
    assert base(judge, asked, program).status == "pass"


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crash"),
        ("print(3); exit(1)", "fail"),
        ("print(1 // 0)", "fail"),
        ("", "fail"),
    ],
)
def test_a_right_output_needs_a_program_that_ends_well(judge, program, status):
    assert base(judge, task(SUM), program).status == status


def test_a_program_that_does_not_end_is_a_timeout(judge):
    quick = Sandbox(Limits(cpu_seconds=1.0), judge.sandbox.isolation)
    assert base(type(judge)(quick), task(SUM), "while True: pass").status == "timeout"


def test_a_test_that_failed_ends_the_tests(judge):
    program = "a, b = map(int, input().split())\nprint(3 if a else exit(9))\n"
    first, second, third = (StdinTest(f"{a} 0\n", "3") for a in (1, 0, 2))
    asked = Task("t", "Add.", suites={"base": Suite((first, second)), "plus": Suite((third,))})
    verdict = judge.check(asked, program)
    assert verdict.suites["base"].case == second
    assert verdict.suites["plus"].status == "untested"


def test_forms_may_be_mixed(judge):
    tests = (TestCase((1,), 2), CodeTest("assert f(2) == 4"), TestCase((3,), 6), StdinTest("", ""))
    asked = task(*tests, entry_point="f")
    assert base(judge, asked, "def f(x): return 2 * x").status == "pass"
    wrong = "def f(x): return {1: 2, 2: 4, 3: 5}[x]"
    assert base(judge, asked, wrong).case == TestCase((3,), 6)


def test_a_long_output_is_compared_whole(judge):
    size = 200_000
    program = f"print('x' * {size} + input() + 'x' * {size})"
    asked = task(StdinTest("b\n", "x" * size + "b" + "x" * size + "\n"))
    assert base(judge, asked, program).status == "pass"
    assert base(judge, asked, program.replace("input()", "'c'")).status == "fail"


def test_the_tolerance_of_the_suite_counts(judge):
    near = {"base": Suite((StdinTest("", "1.0"),), atol=1e-3)}
    assert judge.check(Task("t", "Add.", suites=near), "print(1.0005)").passed_base
    exact = {"base": Suite((StdinTest("", "1.0"),))}
    assert not judge.check(Task("t", "Add.", suites=exact), "print(1.0000001)").passed_base


def test_a_preamble_stands_before_every_program(judge):
    preamble = "from math import *"
    assert base(judge, task(StdinTest("", "2"), preamble=preamble), "print(gcd(4, 6))").status == (
        "pass"
    )
    called = task(TestCase((4, 6), 2), entry_point="gcd", preamble=preamble)
    assert base(judge, called, "").status == "pass"


def test_public_tests_of_another_form_than_the_scoring_ones(judge):
    asked = task(SUM, public=(CodeTest("assert True"), StdinTest("2 2", "4", "twice")))
    assert judge.run_public(asked, SUMS["python"].replace("input()", "'2 2'")).passed
    result = judge.run_public(asked, "print(5)")
    assert (result.passed, result.failure[0].message, result.stdout) == (False, "twice", "5\n5\n")


@pytest.mark.parametrize(
    ("language", "program", "passed"),
    [
        ("python", "input()", True),
        ("python", "a b", False),
        ("c++", "int main() { return 1; }", True),
        ("c++", "int main() { return x; }", False),
    ],
)
def test_without_public_tests_a_program_must_compile(judge, language, program, passed):
    needs(language)
    result = judge.run_public(task(SUM, language=language), program)
    assert (result.passed, result.failure) == (passed, None)
    assert passed or "rror" in result.load.error
