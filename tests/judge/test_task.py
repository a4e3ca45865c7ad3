import json
import re

import pytest

from ocijax.errors import InputError
from ocijax.judge.task import (
    CodeTest,
    StdinTest,
    Suite,
    Task,
    TestCase,
    read_tasks,
    task_to_row,
    write_tasks,
)

TEST = {"arguments": [[3, 1]], "expected": [1, 3]}
ROW = {
    "task_id": "sort/0",
    "instruction": "Sort numbers.",
    "entry_point": "arrange",
    "suites": {"base": {"tests": [TEST]}},
}


def changed(**fields):
    return {**ROW, **fields}


def with_suite(**fields):
    return changed(suites={"base": {"tests": [TEST], **fields}})


def of_program(test, **fields):
    """A row without entry point whose base suite has one test."""
    row = changed(suites={"base": {"tests": [test]}}, **fields)
    del row["entry_point"]
    return row


def with_test(**fields):
    return changed(public_tests=[TEST, {**TEST, **fields}])


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows) -> str:
        path = tmp_path / "tasks.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write_rows


def test_a_row_needs_no_more_than_what_is_asked_and_base_tests(write):
    case = TestCase(([3, 1],), [1, 3])
    task = Task("sort/0", "Sort numbers.", "arrange", suites={"base": Suite((case,))})
    assert read_tasks(write(ROW)) == [task]


def test_reads_what_it_wrote(tmp_path):
    cases = (
        TestCase(((1, "a"), {2, 3}, 1j), {(1, 2): float("inf")}, "pairs to infinity"),
        TestCase((10**400, b"\x00"), None),
    )
    task = Task(
        "made/1",
        "Say ü.",
        "say",
        "def say(x):\n",
        cases[:1],
        {
            "base": Suite(cases, 1e-4, "same_set", (0.5, 2.0)),
            "plus": Suite(cases[1:]),
        },
        {"family": "pairs", "readings": 4, "kept": [True, None]},
    )
    path = tmp_path / "new" / "tasks.jsonl"
    assert write_tasks(path, [task]) == 1
    [read] = read_tasks(path)
    assert read == task
    assert repr(read.suites["base"].cases[0]) == repr(cases[0])


def test_tests_have_three_forms(write):
    stdin = {"stdin": "3 1\n", "stdout": "1 3\n", "message": "sorts"}
    code = {"code": "assert True", "files": {"a.txt": "x"}}
    row = of_program(stdin, language="go", public_tests=[code], preamble="import math")
    [task] = read_tasks(write(row))
    assert task.suites["base"].cases == (StdinTest("3 1\n", "1 3\n", "sorts"),)
    assert task.public_tests == (CodeTest("assert True", files={"a.txt": "x"}),)
    assert (task.entry_point, task.language, task.preamble) == ("", "go", "import math")
    assert read_tasks(write(task_to_row(task))) == [task]


def test_the_name_to_define_is_that_of_the_class_where_a_method_is_called(write):
    [task] = read_tasks(write(changed(entry_point="Solution().arrange")))
    assert (task.entry_point, task.definition) == ("Solution().arrange", "Solution")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("[", "not JSON"),
        ([ROW], "the row is not a JSON object"),
        ({**ROW, "task_id": None}, "its task_id is missing"),
        (changed(task_id=3), "its task_id is of the wrong type (int)"),
        (changed(instruction=" "), "its instruction is empty"),
        (changed(entry_point="sort it"), "its entry_point 'sort it' is no name of a function"),
        (changed(prompt=["x"]), "its prompt is of the wrong type (list)"),
        (changed(metadata="x"), "its metadata is of the wrong type (str)"),
        (changed(metadata={"$what": 1}), "its metadata: no value is written as"),
        (changed(metadata={"solution": ["x"]}), "its metadata.solution is no text"),
        (changed(public_test=[]), "the row has the unknown field 'public_test'; there are"),
        (changed(public_tests={}), "its public_tests is of the wrong type (dict)"),
        (changed(public_tests=[TEST, 4]), "public test 1 is not a JSON object"),
        (with_test(arguments=3), "public test 1's arguments is of the wrong type (int)"),
        (with_test(message=3), "public test 1's message is of the wrong type (int)"),
        (with_test(expected={"$set": 1}), "public test 1's expected value: no value is"),
        (with_test(arguments=[{"$set": 1}]), "public test 1's arguments: no value is written"),
        (with_test(expect=1), "public test 1 has the unknown field 'expect'"),
        (changed(public_tests=[{"arguments": []}]), "public test 0 has no expected value"),
        (changed(suites=[]), "its suites is of the wrong type (list)"),
        (changed(suites={}), "it has no suite base"),
        (changed(suites={"base": {"tests": [TEST]}, "hard": {}}), "it has a suite 'hard'"),
        (changed(suites={"base": [TEST]}), "the base suite is not a JSON object"),
        (changed(suites={"base": {}}), "the base suite's tests is missing"),
        (with_suite(tests=[]), "the base suite has no tests"),
        (with_suite(oracle="telepathy"), "the base suite has the unknown oracle 'telepathy'"),
        (with_suite(oracle=1), "the base suite's oracle is of the wrong type (int)"),
        (with_suite(atol="0"), "the base suite's atol is of the wrong type (str)"),
        (with_suite(atol=-1), "an atol or seconds that are no numbers from 0 on"),
        (with_suite(atol=True), "an atol or seconds that are no numbers from 0 on"),
        (with_suite(seconds=["1"]), "an atol or seconds that are no numbers from 0 on"),
        (with_suite(seconds=[1, 2]), "the base suite has 1 tests and 2 seconds"),
        (with_suite(tolerance=1), "the base suite has the unknown field 'tolerance'"),
        (changed(task_id="first"), "a second task 'first'"),
        (of_program(TEST), "its entry_point is missing, which its tests call"),
        (changed(entry_point="S().a b"), "its entry_point 'S().a b' is no name of a function"),
        (changed(language="perl"), "its language 'perl' is unknown; there are python, bash"),
        (changed(language=1), "its language is of the wrong type (int)"),
        (changed(language="go"), "it has tests that are calls, but its language is go: write"),
        (changed(preamble=1), "its preamble is of the wrong type (int)"),
        (of_program({"stdin": "1"}), "base test 0's stdout is missing"),
        (of_program({"stdin": 1, "stdout": "1"}), "base test 0's stdin is of the wrong type (int)"),
        (of_program({"stdin": "1", "expected": 1}), "base test 0 has the unknown field 'expected'"),
        (of_program({"code": 1}), "base test 0's code is of the wrong type (int)"),
        (of_program({"code": "", "files": []}), "base test 0's files is of the wrong type (list)"),
        (of_program({"code": "", "files": {"a": 1}}), "base test 0's files have a content that is"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(write, row, problem):
    path = write(changed(task_id="first"), row)
    with pytest.raises(InputError, match=f"^{re.escape(path)}:2: .*{re.escape(problem)}"):
        read_tasks(path)


def test_a_value_that_is_no_plain_data_is_not_written(tmp_path):
    task = Task("a", "b", "c", suites={"base": Suite((TestCase((object(),), None),))})
    with pytest.raises(TypeError, match="object is no plain data"):
        write_tasks(tmp_path / "tasks.jsonl", [task])
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_ordinary_json_where_the_values_are():
    case = TestCase(([3, 1],), [1, 3], "smallest first")
    task = Task("a", "b", "c", public_tests=(case,), suites={"base": Suite((case,))})
    assert task_to_row(task)["public_tests"] == [{**TEST, "message": "smallest first"}]
