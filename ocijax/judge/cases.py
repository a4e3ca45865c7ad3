"""The three forms of a test, and how they stand in a row; see `ocijax.judge.task`."""

from dataclasses import dataclass, field, fields
from typing import Any

from ocijax.errors import InputError
from ocijax.judge import fields as rows
from ocijax.judge.values import to_json


@dataclass(frozen=True, slots=True)  # a benchmark has a hundred thousand
class TestCase:
    """One call of the entry point and what it must give.

    Attributes:
      arguments: positional arguments, plain data.
      expected: plain data.
      message: what a failing assertion says in words, as good tests do; may be empty.
    """

    __test__ = False  # not a pytest class

    arguments: tuple[Any, ...]
    expected: Any
    message: str = ""


@dataclass(frozen=True)
class StdinTest:
    """One run of the whole program.

    Attributes:
      stdin: what it can read.
      stdout: what it must print, see `ocijax.judge.compare.same_output`.
      message: as of `TestCase`.
    """

    stdin: str
    stdout: str
    message: str = ""


@dataclass(frozen=True)
class CodeTest:
    """Code that tests the program from within its process.

    Attributes:
      code: source in the task's language.
      message: as of `TestCase`.
      files: contents by relative path, there when it starts.
    """

    code: str
    message: str = ""
    files: dict[str, str] = field(default_factory=dict)


Test = TestCase | StdinTest | CodeTest


def test_to_row(test: Test) -> dict[str, Any]:
    """The test as part of a row."""
    message = {"message": test.message} if test.message else {}
    match test:
        case TestCase():
            arguments = [to_json(argument) for argument in test.arguments]
            return {"arguments": arguments, "expected": to_json(test.expected), **message}
        case StdinTest():
            return {"stdin": test.stdin, "stdout": test.stdout, **message}
        case CodeTest():
            return {"code": test.code, **message, **({"files": test.files} if test.files else {})}


test_to_row.__test__ = False  # nor this


def tests_from_rows(found: list[Any], kind: str) -> tuple[Test, ...]:
    """The tests of a list of rows; ``kind`` names them in messages.

    Raises:
      InputError: one is malformed.
    """
    return tuple(_test(row, f"{kind} {index}") for index, row in enumerate(found))


tests_from_rows.__test__ = False


def _test(row: Any, place: str) -> Test:
    form = _form(row)
    rows.check_object(row, place, [one.name for one in fields(form)])
    owner = f"{place}'s"
    message = rows.field(row, owner, "message", str, "")
    if form is StdinTest:
        stdin, stdout = (rows.field(row, owner, name, str) for name in ("stdin", "stdout"))
        return StdinTest(stdin, stdout, message)
    if form is CodeTest:
        files = rows.field(row, owner, "files", dict, {})
        if not all(isinstance(content, str) for content in files.values()):
            raise InputError(f"{owner} files have a content that is no text")
        return CodeTest(rows.field(row, owner, "code", str), message, files)
    if "expected" not in row:
        raise InputError(f"{place} has no expected value")
    arguments = rows.plain(rows.field(row, owner, "arguments", list), f"{owner} arguments")
    expected = rows.plain(row["expected"], f"{owner} expected value")
    return TestCase(tuple(arguments), expected, message)


def _form(row: Any) -> type[TestCase] | type[StdinTest] | type[CodeTest]:
    if isinstance(row, dict) and "code" in row:
        return CodeTest
    return StdinTest if isinstance(row, dict) and row.keys() & {"stdin", "stdout"} else TestCase
