"""A programming task: what is asked, the tests that may be shown and the tests that score.

On disk tasks are JSON lines, one task each::

    {"task_id": "sum/0", "instruction": "Write add(a, b).", "entry_point": "add",
     "public_tests": [{"arguments": [1, 2], "expected": 3, "message": "adds"}],
     "suites": {"base": {"tests": [{"arguments": [2, 2], "expected": 4}]}}}

``task_id``, ``instruction`` and ``suites`` with ``base`` must be there. A suite ``plus`` may stand
beside ``base``; a suite may have ``atol``, ``oracle`` and ``seconds``, see `Suite`. Tests of
``public_tests`` may be shown to a model, others never are. ``prompt``, ``language`` (``python`` by
default), ``preamble`` and ``metadata`` may be absent, see `Task`. Unknown fields are refused.

A test has one of three forms; ``message``, which may be absent, is what a failure says in words:

- a call, ``{"arguments": [...], "expected": ..., "message": "..."}``: the program, in Python, is
  loaded, its ``entry_point`` called (``f``, or ``Name().method`` of a new instance) and the value
  compared outside of its process. Values are written as `ocijax.judge.values` says. An input may
  take 1 s. Outputs of more than 1 MiB, encoded, must be equal: no oracle or tolerance sees them.
- a run, ``{"stdin": "...", "stdout": "...", "message": "..."}``: the whole program, of any language
  of the sandbox, reads the one and must print the other. Compared are lines, without what is blank
  at their ends and at the end of all; where the suite has an ``atol``, also words as numbers, see
  `ocijax.judge.compare.same_output`. The exit status must be 0. A run may take 6 s, as in
  LiveCodeBench; compiling does not count.
- code, ``{"code": "...", "files": {"path": "content"}, "message": "..."}``: in Python, tests that
  run around the program in its own process (`ocijax.sandbox.Sandbox.test`): ``unittest`` classes, a
  function ``check(candidate)``, bare ``assert``; all of them may take 10 s. In other languages the
  code goes on from the program to a whole one, which passes if it compiles and its exit status
  is 0. The promise is weaker than that of the others: values compare as the program defines it, and
  in other languages a program that ends itself with status 0 before its tests passes. Prefer the
  others where they will do.

Times are on a CPU; where the suite gives the ``seconds`` of a reference, a test may take four times
as long if that is more. The judge is `ocijax.judge.checker`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows, write_rows
from ocijax.judge import fields as rows
from ocijax.judge.cases import CodeTest, StdinTest, Test, TestCase, test_to_row, tests_from_rows
from ocijax.judge.compare import ORACLES
from ocijax.judge.values import to_json
from ocijax.sandbox.languages import LANGUAGES, PYTHON

__all__ = [
    "CodeTest",
    "StdinTest",
    "Suite",
    "Task",
    "Test",
    "TestCase",
    "read_tasks",
    "task_from_row",
    "task_to_row",
    "write_tasks",
]


@dataclass(frozen=True)
class Suite:
    """Tests that score, judged by one oracle.

    Attributes:
      cases: tests, of any form.
      atol: absolute tolerance of float comparison; 0 compares exactly unless floats are expected
        of a call.
      oracle: name of the comparison of calls: ``equal``, or another of `ocijax.judge.compare`.
      seconds: reference time of each case, from the canonical solution; empty: unknown.
    """

    cases: tuple[Test, ...]
    atol: float = 0.0
    oracle: str = "equal"
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is asked and how it is judged.

    Attributes:
      task_id: unique in its benchmark.
      instruction: the first user turn.
      entry_point: function to define, or ``Name().method``; may be empty where no test calls it.
      prompt: code that a bare completion goes on from; empty where answers stand alone.
      public_tests: may be shown as feedback. Some of them may score too, where a set has it so.
      suites: scoring tests by name: ``base``, and ``plus`` where the benchmark has it.
      metadata: free, JSON-serialisable; ``solution``, where there is one, is the source of a
        reference.
      language: of the program, one of `ocijax.sandbox.languages`.
      preamble: source put before every program, as judges do that import for them.
    """

    task_id: str
    instruction: str
    entry_point: str = ""
    prompt: str = ""
    public_tests: tuple[Test, ...] = ()
    suites: dict[str, Suite] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    language: str = PYTHON
    preamble: str = ""

    @property
    def reference_seconds(self) -> float:
        """What a reference takes for all tests that score, on a CPU; 0 where that is not known."""
        return sum(sum(suite.seconds) for suite in self.suites.values())

    @property
    def definition(self) -> str:
        """The name that a program must define; empty where that is open."""
        return self.entry_point.partition("(")[0]


def task_to_row(task: Task) -> dict[str, Any]:
    """The task as one JSON row."""
    row = {
        "task_id": task.task_id,
        "instruction": task.instruction,
        "entry_point": task.entry_point,
        "prompt": task.prompt,
        "public_tests": list(map(test_to_row, task.public_tests)),
        "suites": {
            name: {
                "tests": list(map(test_to_row, suite.cases)),
                "atol": suite.atol,
                "oracle": suite.oracle,
                "seconds": list(suite.seconds),
            }
            for name, suite in task.suites.items()
        },
        "metadata": to_json(task.metadata),
    }
    if task.language != PYTHON:
        row["language"] = task.language
    if task.preamble:
        row["preamble"] = task.preamble
    return row


_TASK = [one.name for one in fields(Task)]
_SUITE = ["tests", "atol", "oracle", "seconds"]


def task_from_row(row: Any) -> Task:
    """The task of one JSON row.

    Raises:
      InputError: the row is malformed; the message says how, not where.
    """
    rows.check_object(row, "the row", _TASK)
    suites = rows.field(row, "its", "suites", dict)
    if "base" not in suites:
        raise InputError("it has no suite base")
    if others := set(suites) - {"base", "plus"}:
        raise InputError(f"it has a suite {min(others)!r}: there are base and plus")
    task = Task(
        task_id=rows.filled(row, "task_id"),
        instruction=rows.filled(row, "instruction"),
        entry_point=rows.field(row, "its", "entry_point", str, ""),
        prompt=rows.field(row, "its", "prompt", str, ""),
        public_tests=tests_from_rows(
            rows.field(row, "its", "public_tests", list, []), "public test"
        ),
        suites={name: _suite(suite, name) for name, suite in suites.items()},
        metadata=rows.plain(rows.field(row, "its", "metadata", dict, {}), "its metadata"),
        language=rows.field(row, "its", "language", str, PYTHON),
        preamble=rows.field(row, "its", "preamble", str, ""),
    )
    _check_language(task)
    _check_entry_point(task)
    if not isinstance(task.metadata.get("solution", ""), str):
        raise InputError("its metadata.solution is no text: it must be the reference's source")
    return task


def _check_language(task: Task) -> None:
    if task.language not in (PYTHON, *LANGUAGES):
        known = rows.listed((PYTHON, *LANGUAGES))
        raise InputError(f"its language {task.language!r} is unknown; there are {known}")
    if task.language != PYTHON and _calls(task):
        raise InputError(
            f"it has tests that are calls, but its language is {task.language}: write them with"
            " stdin and stdout, or as code"
        )


def _check_entry_point(task: Task) -> None:
    if not task.entry_point:
        if _calls(task):
            raise InputError("its entry_point is missing, which its tests call")
        return
    name, call, method = task.entry_point.partition("().")
    if not (name.isidentifier() and (method.isidentifier() or not call)):
        raise InputError(f"its entry_point {task.entry_point!r} is no name of a function")


def _calls(task: Task) -> bool:
    """Whether some test is a call."""
    tests = (task.public_tests, *(suite.cases for suite in task.suites.values()))
    return any(isinstance(test, TestCase) for group in tests for test in group)


def _suite(row: Any, name: str) -> Suite:
    place = f"the {name} suite"
    rows.check_object(row, place, _SUITE)
    cases = tests_from_rows(rows.field(row, f"{place}'s", "tests", list), f"{name} test")
    if not cases:
        raise InputError(f"{place} has no tests")
    oracle = rows.field(row, f"{place}'s", "oracle", str, "equal")
    if oracle not in ORACLES:
        known = rows.listed(ORACLES)
        raise InputError(f"{place} has the unknown oracle {oracle!r}; there are {known}")
    atol = rows.field(row, f"{place}'s", "atol", (int, float), 0.0)
    seconds = rows.field(row, f"{place}'s", "seconds", list, [])
    if not all(map(rows.is_quantity, (atol, *seconds))):
        raise InputError(f"{place} has an atol or seconds that are no numbers from 0 on")
    if seconds and len(seconds) != len(cases):
        raise InputError(f"{place} has {len(cases)} tests and {len(seconds)} seconds")
    return Suite(cases, atol, oracle, tuple(seconds))


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
