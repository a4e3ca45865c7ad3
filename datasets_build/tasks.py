"""Makes a task file of a published set of tasks.

    python -m datasets_build.tasks --from=leetcodedataset --output=leetcode.jsonl \
        --input=LeetCodeDataset-v0.2.0-train.jsonl.gz
    python -m eval.run --checkpoint=runs/first --benchmark=leetcode.jsonl --protocol=execution \
        --workdir=runs/first-leetcode

Formats are leetcodedataset, exercism, livecodebench and humanevalpack, each described in its module
of datasets_build/task_formats; inputs are JSON lines, also packed by gzip. Rows that cannot become
tasks are named on stderr with the reason and left out. No program is run.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from datasets_build.task_formats.exercism import exercism_task
from datasets_build.task_formats.humanevalpack import humanevalpack_task
from datasets_build.task_formats.leetcodedataset import leetcodedataset_task
from datasets_build.task_formats.livecodebench import livecodebench_task
from ocijax.errors import InputError
from ocijax.json_lines import scan_rows
from ocijax.judge.task import Task, task_from_row, task_to_row, write_tasks
from ocijax.program import run

FORMATS: dict[str, Callable[[dict[str, Any]], Task]] = {
    "leetcodedataset": leetcodedataset_task,
    "exercism": exercism_task,
    "livecodebench": livecodebench_task,
    "humanevalpack": humanevalpack_task,
}
"""What makes a task of a row, by the name of the format."""


def read_published(form: str, path: str | Path) -> tuple[list[Task], list[str]]:
    """The tasks of a published file, and why the other rows were left out, by file and line.

    Raises:
      InputError: the file cannot be read.
    """
    known: set[str] = set()

    def parse(row: Any, number: int) -> Task:
        del number
        if not isinstance(row, dict):
            raise InputError("not a JSON object")
        task = task_from_row(task_to_row(FORMATS[form](row)))  # what cannot be read is refused here
        if task.task_id in known:
            raise InputError(f"a second task {task.task_id!r}")
        known.add(task.task_id)
        return task

    return scan_rows(path, parse)


def main() -> None:
    """Reads the input, reports what is left out and writes the output."""
    values = flags.FLAGS
    tasks, left_out = read_published(values["from"].value, values.input)
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if not tasks:
        raise InputError(f"{values.input}: none of its {len(left_out)} rows is a task: see --from")
    write_tasks(values.output, tasks)
    shown = sum(bool(task.public_tests) for task in tasks)
    print(
        f"{values.output}: {len(tasks)} tasks, {shown} of them with public tests;"
        f" {len(left_out)} rows left out"
    )


if __name__ == "__main__":
    flags.DEFINE_enum("from", None, list(FORMATS), "Format of the input.", required=True)
    flags.DEFINE_string("input", None, "Published file (JSONL, also .gz).", required=True)
    flags.DEFINE_string("output", None, "Task file (JSONL) to write.", required=True)
    run(main)
