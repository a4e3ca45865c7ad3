"""A programming task: what is asked, the tests that may be shown and the tests that score.

On disk tasks are JSON lines, each with ``task_id``, ``instruction``, ``entry_point`` and
``suites``: ``{"base": {"tests": [{"arguments": [...], "expected": ..., "message": "..."}]}}``, of
which ``message`` may be absent; a suite ``plus`` may stand beside ``base``, with ``atol`` and
``oracle`` where the comparison is another than that of `ocijax.judge.compare.equal`.
``public_tests`` (a list of such tests), ``prompt`` and ``metadata`` may be absent. Values are
written as `ocijax.judge.values` says.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows, write_rows
from ocijax.judge.compare import ORACLES
from ocijax.judge.values import from_json, to_json


@dataclass(frozen=True)
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
class Suite:
    """Tests that score, judged by one oracle.

    Attributes:
      cases: calls and expected values.
      atol: absolute tolerance of float comparison; 0 compares exactly unless floats are expected.
      oracle: name of the comparison, ``equal`` or one of EvalPlus's special ones.
      seconds: reference time of each case, from the canonical solution; empty: unknown.
    """

    cases: tuple[TestCase, ...]
    atol: float = 0.0
    oracle: str = "equal"
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is asked and how it is judged.

    Attributes:
      task_id: unique in its benchmark.
      instruction: the first user turn.
      entry_point: function to define.
      prompt: code that a bare completion goes on from; empty where answers stand alone.
      public_tests: may be shown as feedback; never part of ``suites``' inputs by intent.
      suites: scoring tests by name: ``base``, and ``plus`` where the benchmark has it.
      metadata: free, JSON-serialisable.
    """

    task_id: str
    instruction: str
    entry_point: str
    prompt: str = ""
    public_tests: tuple[TestCase, ...] = ()
    suites: dict[str, Suite] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


def task_to_row(task: Task) -> dict[str, Any]:
    """The task as one JSON row."""

    def cases(tests: Iterable[TestCase]) -> list[dict[str, Any]]:
        return [
            {
                "arguments": [to_json(argument) for argument in test.arguments],
                "expected": to_json(test.expected),
                **({"message": test.message} if test.message else {}),
            }
            for test in tests
        ]

    return {
        "task_id": task.task_id,
        "instruction": task.instruction,
        "entry_point": task.entry_point,
        "prompt": task.prompt,
        "public_tests": cases(task.public_tests),
        "suites": {
            name: {
                "tests": cases(suite.cases),
                "atol": suite.atol,
                "oracle": suite.oracle,
                "seconds": list(suite.seconds),
            }
            for name, suite in task.suites.items()
        },
        "metadata": to_json(task.metadata),
    }


_TASK = [one.name for one in fields(Task)]
_SUITE = ["tests", "atol", "oracle", "seconds"]
_TEST = [one.name for one in fields(TestCase)]


def task_from_row(row: Any) -> Task:
    """The task of one JSON row.

    Raises:
      InputError: the row is malformed; the message says how, not where.
    """
    _check_object(row, "the row", _TASK)
    entry_point = _name(row, "entry_point")
    if not entry_point.isidentifier():
        raise InputError(f"its entry_point {entry_point!r} is no name of a function")
    suites = _field(row, "its", "suites", dict)
    if "base" not in suites:
        raise InputError("it has no suite base")
    if others := set(suites) - {"base", "plus"}:
        raise InputError(f"it has a suite {min(others)!r}: there are base and plus")
    return Task(
        task_id=_name(row, "task_id"),
        instruction=_name(row, "instruction"),
        entry_point=entry_point,
        prompt=_field(row, "its", "prompt", str, ""),
        public_tests=_cases(_field(row, "its", "public_tests", list, []), "public test"),
        suites={name: _suite(suite, name) for name, suite in suites.items()},
        metadata=_plain(_field(row, "its", "metadata", dict, {}), "its metadata"),
    )


def _suite(row: Any, name: str) -> Suite:
    place = f"the {name} suite"
    _check_object(row, place, _SUITE)
    cases = _cases(_field(row, f"{place}'s", "tests", list), f"{name} test")
    if not cases:
        raise InputError(f"{place} has no tests")
    oracle = _field(row, f"{place}'s", "oracle", str, "equal")
    if oracle not in ORACLES:
        raise InputError(f"{place} has the unknown oracle {oracle!r}; there are {_list(ORACLES)}")
    atol = _field(row, f"{place}'s", "atol", (int, float), 0.0)
    seconds = _field(row, f"{place}'s", "seconds", list, [])
    if not all(map(_is_quantity, (atol, *seconds))):
        raise InputError(f"{place} has an atol or seconds that are no numbers from 0 on")
    if seconds and len(seconds) != len(cases):
        raise InputError(f"{place} has {len(cases)} tests and {len(seconds)} seconds")
    return Suite(cases, atol, oracle, tuple(seconds))


def _cases(rows: list[Any], kind: str) -> tuple[TestCase, ...]:
    cases = []
    for index, row in enumerate(rows):
        place = f"{kind} {index}"
        _check_object(row, place, _TEST)
        if "expected" not in row:
            raise InputError(f"{place} has no expected value")
        arguments = _plain(_field(row, f"{place}'s", "arguments", list), f"{place}'s arguments")
        expected = _plain(row["expected"], f"{place}'s expected value")
        message = _field(row, f"{place}'s", "message", str, "")
        cases.append(TestCase(tuple(arguments), expected, message))
    return tuple(cases)


def _check_object(row: Any, place: str, known: Sequence[str]) -> None:
    """Refuses what is no object, or has other fields than those known: they may be misspelt."""
    if not isinstance(row, dict):
        raise InputError(f"{place} is not a JSON object")
    if unknown := [name for name in row if name not in known]:
        raise InputError(f"{place} has the unknown field {unknown[0]!r}; there are {_list(known)}")


def _field(row: dict, owner: str, name: str, kind: type | tuple, default: Any = None) -> Any:
    value = row.get(name, default)
    if value is None:
        raise InputError(f"{owner} {name} is missing")
    if not isinstance(value, kind):
        raise InputError(f"{owner} {name} is of the wrong type ({type(value).__name__})")
    return value


def _name(row: dict, name: str) -> str:
    text = _field(row, "its", name, str)
    if not text.strip():
        raise InputError(f"its {name} is empty")
    return text


def _plain(value: Any, place: str) -> Any:
    try:
        return from_json(value)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error


def _is_quantity(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def read_tasks(path: str | Path) -> list[Task]:
    """The tasks of a JSONL file.

    Raises:
      InputError: the file cannot be read, has malformed rows (named by file and line), or two
        tasks of the same id.
    """
    known: set[str] = set()

    def parse(row: Any, number: int) -> Task:
        del number
        task = task_from_row(row)
        if task.task_id in known:
            raise InputError(f"a second task {task.task_id!r}")
        known.add(task.task_id)
        return task

    return read_rows(path, parse)


def write_tasks(path: str | Path, tasks: Iterable[Task]) -> int:
    """Writes a JSONL file, whole or not at all; returns the number of tasks."""
    return write_rows(path, map(task_to_row, tasks))
