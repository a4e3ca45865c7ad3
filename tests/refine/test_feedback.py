"""What each way to fail is worded as, word for word."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.judge.checker import run_public
from ocijax.judge.task import CodeTest, StdinTest, Task, TestCase
from ocijax.refine.feedback import (
    OURS,
    failure_feedback,
    load_feedback,
    no_code_feedback,
    public_feedback,
    run_feedback,
)
from ocijax.sandbox.encoding import Digest, Opaque
from ocijax.sandbox.result import ExecutionResult, Limits, Outcome
from ocijax.sandbox.sandbox import Sandbox

TASK = Task(
    "task",
    "Sort the numbers.",
    "solve",
    public_tests=(TestCase(([3, 1, 2],), [3, 2, 1], "largest first"),),
)
SANDBOX = Sandbox(Limits(memory_bytes=512 << 20))


def told(program: str) -> str:
    """What the loop says of a program for the task above."""
    return public_feedback(TASK, asyncio.run(run_public(SANDBOX, TASK, program)))


def ended(status: str, stdout: str = "", stderr: str = "", exit_code: int | None = 0) -> str:
    return run_feedback(ExecutionResult(status, stdout, stderr, exit_code, None, 0.1, "limits"))


def test_a_wrong_output_begins_with_the_tests_own_message():
    assert told("def solve(numbers):\n    return sorted(numbers)\n") == (
        "Execution result:\n"
        "AssertionError: largest first\n"
        "Input: solve([3, 1, 2])\n"
        "Expected: [3, 2, 1]\n"
        "Actual: [1, 2, 3]"
    )


def test_a_wrong_output_of_a_test_without_message():
    test = TestCase((1, "a"), None)
    assert failure_feedback("f", test, Outcome("ok", 2.5)) == (
        "Execution result:\n"
        "AssertionError: wrong output\n"
        "Input: f(1, 'a')\n"
        "Expected: None\n"
        "Actual: 2.5"
    )


def test_an_exception_comes_with_the_programs_part_of_the_traceback():
    assert told("def solve(numbers):\n    return numbers[7]\n") == (
        "Execution result:\n"
        "Traceback (most recent call last):\n"
        '  File "<program>", line 2, in solve\n'
        "    return numbers[7]\n"
        "IndexError: list index out of range\n"
        "largest first\n"
        "Input: solve([3, 1, 2])\n"
        "Expected: [3, 2, 1]"
    )


def test_a_syntax_error_is_shown_as_python_shows_it():
    assert told("def solve(numbers)\n    return numbers\n") == (
        "Execution result:\n"
        '  File "<program>", line 1\n'
        "    def solve(numbers)\n"
        "                      ^\n"
        "SyntaxError: expected ':'"
    )


def test_a_missing_function_is_named():
    assert told("def sort(numbers):\n    return numbers\n") == (
        "Execution result:\nNameError: the program does not define solve"
    )


def test_a_program_that_ends_its_process():
    assert told("import os\ndef solve(numbers):\n    os._exit(3)\n") == (
        "Execution result:\n"
        "the program ended its process with exit status 3\n"
        "largest first\n"
        "Input: solve([3, 1, 2])\n"
        "Expected: [3, 2, 1]"
    )


def test_a_crash_names_its_signal():
    program = "import os, signal\ndef solve(numbers):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    assert told(program) == (
        "Execution result:\n"
        "The program crashed: its process was killed.\n"
        "the program's process was ended by signal SIGSEGV\n"
        "largest first\n"
        "Input: solve([3, 1, 2])\n"
        "Expected: [3, 2, 1]"
    )


def test_too_much_memory():
    assert told("def solve(numbers):\n    return bytearray(1 << 30)\n") == (
        "Execution result:\n"
        "MemoryError: the program used more memory than allowed.\n"
        "largest first\n"
        "Input: solve([3, 1, 2])\n"
        "Expected: [3, 2, 1]"
    )


def test_a_time_out():
    assert failure_feedback("f", TestCase((1,), 2), Outcome("timeout")) == (
        "Execution result:\n"
        "TimeoutError: the program took too long and was stopped.\n"
        "Input: f(1)\n"
        "Expected: 2"
    )


def test_too_much_output():
    assert load_feedback(Outcome("output")) == (
        "Execution result:\nThe program printed too much and was stopped."
    )


def test_a_failure_without_any_words():
    assert load_feedback(Outcome("error")) == (
        "Execution result:\nThe program failed without saying why."
    )


def test_a_reply_without_code():
    assert no_code_feedback() == (
        "Execution result:\n"
        "No code was found in the reply. Give the whole program in one Python code block."
    )


def test_a_reply_without_code_in_another_language():
    assert no_code_feedback("c++").endswith("Give the whole program in one C++ code block.")
    assert no_code_feedback("javascript").endswith("in one JavaScript code block.")


RUN = StdinTest("1 2\n", "3\n", "adds")


def test_a_wrong_output_of_a_program_stands_beside_the_right_one():
    assert failure_feedback("", RUN, Outcome("ok", "4\n")) == (
        "Execution result:\n"
        "The program printed a wrong output.\n"
        "adds\n"
        "Input:\n1 2\nExpected output:\n3\nActual output:\n4"
    )


def test_a_program_that_prints_nothing_and_warns():
    assert failure_feedback("", StdinTest("", "3"), Outcome("ok", "", "careful")) == (
        "Execution result:\n"
        "The program printed a wrong output.\n"
        "Input:\n(nothing)\nExpected output:\n3\nActual output:\n(nothing)\n"
        "Standard error:\ncareful"
    )


def test_a_program_that_fails_says_why_and_what_it_printed_before():
    assert failure_feedback("", RUN, Outcome("error", "4\n", "ValueError: 4")) == (
        "Execution result:\n"
        "ValueError: 4\n"
        "adds\n"
        "Input:\n1 2\nExpected output:\n3\nActual output:\n4"
    )
    assert failure_feedback("", RUN, Outcome("timeout", "")) == (
        "Execution result:\n"
        "TimeoutError: the program took too long and was stopped.\n"
        "adds\n"
        "Input:\n1 2\nExpected output:\n3"
    )


def test_code_that_fails_is_shown_with_what_it_says():
    test = CodeTest("assert add(1, 2) == 3\n", "adds")
    assert failure_feedback("add", test, Outcome("error", None, "AssertionError")) == (
        "Execution result:\nAssertionError\nadds\nTest:\nassert add(1, 2) == 3"
    )


def test_a_script_that_prints():
    assert ended("ok", "1\n2\n") == "Execution result:\n1\n2"


def test_a_script_that_prints_nothing():
    assert ended("ok", " \n") == (
        "Execution result:\nThe program ended without error and printed nothing."
    )


def test_a_script_that_fails_after_printing():
    assert ended("error", "1\n", "NameError: x\n", 1) == "Execution result:\n1\nNameError: x"


def test_a_script_that_exits_without_a_word():
    assert ended("error", exit_code=3) == (
        "Execution result:\nThe program ended with exit status 3."
    )


def test_values_that_cannot_be_shown_are_described():
    test = TestCase((10**5000,), Digest("00", 123))
    feedback = failure_feedback("f", test, Outcome("ok", Opaque("Node", "")))
    assert feedback == (
        "Execution result:\n"
        "AssertionError: wrong output\n"
        "Input: f(<a int too long to print>)\n"
        "Expected: <a value of 123 bytes>\n"
        "Actual: <a Node>"
    )


def test_head_and_tail_of_a_long_value_are_kept():
    feedback = failure_feedback("f", TestCase(("a" * 300 + "b" * 300,), 1), Outcome("ok", 0))
    line = "'" + "a" * 165 + "\n[... 353 characters left out ...]\n" + "b" * 82 + "'"
    assert f"Input: f({line})\nExpected: 1\nActual: 0" in feedback


def test_a_long_traceback_keeps_the_line_that_names_the_exception():
    error = "Traceback\n" + "  a call\n" * 500 + "ValueError: too small"
    feedback = failure_feedback("f", TestCase((0,), 1, "m" * 999), Outcome("error", None, error))
    assert feedback.startswith(f"{OURS.label}Traceback\n  a call\n")
    assert "\nValueError: too small\nmmm" in feedback
    assert feedback.endswith("\nInput: f(0)\nExpected: 1")


def test_half_of_a_surrogate_pair_is_escaped_and_other_letters_are_kept():
    test = TestCase(("é\udc80",), "日", "größer zuerst \udc80")
    assert failure_feedback("f", test, Outcome("ok", "")) == (
        "Execution result:\n"
        "AssertionError: größer zuerst \\udc80\n"
        "Input: f('é\\udc80')\n"
        "Expected: '日'\n"
        "Actual: ''"
    )


TEXT = st.text(st.characters(exclude_categories=()), max_size=2000)
STATUS = st.sampled_from(["ok", "error", "timeout", "memory", "output", "killed"])
VALUE = st.one_of(
    st.none(), st.integers(), st.floats(), TEXT, st.binary(), st.lists(st.integers() | TEXT)
)


@given(STATUS, VALUE, TEXT, TEXT, st.lists(VALUE, max_size=4), VALUE)
def test_feedback_is_never_empty_nor_long_nor_unreadable(
    status, value, error, message, arguments, expected
):
    outcome = Outcome(status, value, error)
    for feedback in (
        failure_feedback("f", TestCase(tuple(arguments), expected, message), outcome),
        failure_feedback("f", StdinTest(error, message, message), Outcome(status, error, message)),
        failure_feedback("f", CodeTest(error, message), outcome),
        load_feedback(outcome),
        run_feedback(ExecutionResult(status, message, error, 1, None, 0.0, "limits")),
    ):
        assert feedback.removeprefix(OURS.label).strip()
        assert feedback.startswith(OURS.label)
        assert len(feedback) <= len(OURS.label) + OURS.longest
        feedback.encode()


@pytest.mark.parametrize("program", ["", "\n", "pass"])
def test_an_empty_program_lacks_the_function(program):
    assert told(program) == "Execution result:\nNameError: the program does not define solve"
