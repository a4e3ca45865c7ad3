"""Samples files, in EvalPlus's format: programs that were written elsewhere, to be judged.

JSON lines with ``task_id`` and either ``solution``, a program that stands alone, or ``completion``,
which goes on from the task's prompt; where a row has both, ``solution`` counts. A task may have
several rows; further fields are passed over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows
from ocijax.judge.task import Task


@dataclass(frozen=True)
class Sample:
    """One program for one task.

    Attributes:
      task_id: whose.
      text: the program, or what goes on from the prompt.
      completion: whether it is the latter.
    """

    task_id: str
    text: str
    completion: bool

    def program(self, task: Task) -> str:
        """The whole program."""
        return task.prompt + self.text if self.completion else self.text


def read_samples(path: str | Path) -> list[Sample]:
    """The samples of a file.

    Raises:
      InputError: it cannot be read, has no rows, or malformed ones, named by file and line.
    """
    samples = read_rows(path, _parse)
    if not samples:
        raise InputError(f"{path}: has no samples")
    return samples


def _parse(row: Any, number: int) -> Sample:
    del number
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    if not isinstance(row.get("task_id"), str):
        raise InputError("it has no task_id")
    for name in ("solution", "completion"):
        if isinstance(row.get(name), str):
            return Sample(row["task_id"], row[name], name == "completion")
    raise InputError(f"{row['task_id']}: it has neither a solution nor a completion")
