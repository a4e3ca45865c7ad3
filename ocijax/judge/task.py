"""A programming task: what is asked, the tests that may be shown and the tests that score.

On disk tasks are JSON lines, each with ``task_id``, ``instruction``, ``entry_point`` and
``suites``: ``{"base": {"tests": [{"arguments": [...], "expected": ..., "message": "..."}]}}``, of
which ``message`` may be absent; a suite ``plus`` may stand beside ``base``, with ``atol`` and
``oracle`` where the comparison is another than that of `ocijax.judge.compare.equal`.
``public_tests`` (a list of such tests), ``prompt`` and ``metadata`` may be absent. Values are
written as `ocijax.judge.values` says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows, write_rows
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


def task_from_row(row: Any) -> Task:
    """The task of one JSON row.

    Raises:
      InputError: the row is malformed; the message says how, not where.
    """
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    for name, kind in _REQUIRED.items():
        if not isinstance(row.get(name), kind) or not row[name]:
            raise InputError(f"it has no {name}")

    def cases(tests: Any, place: str) -> tuple[TestCase, ...]:
        if not isinstance(tests, list):
            raise InputError(f"its {place} are no list")
        found = []
        for index, test in enumerate(tests):
            if not isinstance(test, dict) or not isinstance(test.get("arguments"), list):
                raise InputError(f"test {index} of its {place} has no list of arguments")
            if "expected" not in test:
                raise InputError(f"test {index} of its {place} has no expected value")
            try:
                arguments = tuple(from_json(argument) for argument in test["arguments"])
                expected = from_json(test["expected"])
            except ValueError as error:
                raise InputError(f"test {index} of its {place}: {error}") from error
            found.append(TestCase(arguments, expected, test.get("message", "")))
        return tuple(found)

    suites = {}
    for name, suite in row["suites"].items():
        if name not in ("base", "plus"):
            raise InputError(f"suite {name!r}: there are base and plus")
        if not isinstance(suite, dict) or not suite.get("tests"):
            raise InputError(f"its suite {name} has no tests")
        oracle = suite.get("oracle", "equal")
        suites[name] = Suite(
            cases(suite["tests"], f"{name} tests"),
            suite.get("atol", 0.0),
            oracle,
            tuple(suite.get("seconds", ())),
        )
    if "base" not in suites:
        raise InputError("it has no suite base")
    return Task(
        task_id=row["task_id"],
        instruction=row["instruction"],
        entry_point=row["entry_point"],
        prompt=row.get("prompt", ""),
        public_tests=cases(row.get("public_tests", []), "public tests"),
        suites=suites,
        metadata=from_json(row.get("metadata", {})),
    )


_REQUIRED = {"task_id": str, "instruction": str, "entry_point": str, "suites": dict}


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
