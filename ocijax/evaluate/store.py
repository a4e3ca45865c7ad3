"""Results on disk: durable as they come, never twice, never mixed with another run's.

WORKDIR/settings.json   what makes the run
WORKDIR/results.jsonl   one row a task and sample
WORKDIR/summary.json    see ocijax.evaluate.summary
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ocijax.configuration import differences
from ocijax.errors import InputError

Row = dict[str, Any]


class ResultStore:
    """The results of one run; begun anew, it goes on where it was.

    Args:
      workdir: made where absent.
      settings: what makes the run, as JSON can hold it.

    Raises:
      InputError: the workdir belongs to a run with other settings, or holds something else.
    """

    def __init__(self, workdir: str | Path, settings: Mapping[str, Any]):
        self.workdir = Path(workdir)
        self._path = self.workdir / "results.jsonl"
        self._claim(json.loads(json.dumps(dict(settings))))
        self.rows = self._read()

    def _claim(self, settings: Mapping[str, Any]) -> None:
        path = self.workdir / "settings.json"
        if path.exists():
            stored = json.loads(path.read_text())
            for name, there, here in differences(stored, settings, "run"):
                raise InputError(
                    f"--workdir={self.workdir}: belongs to a run with "
                    f"{name.removeprefix('run.')}={there!r}, not {here!r}; choose another"
                )
            return
        if self.workdir.is_dir() and any(self.workdir.iterdir()):
            raise InputError(f"--workdir={self.workdir}: holds files but no run; choose another")
        self.workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

    def _read(self) -> list[Row]:
        """The rows so far; a last line that a killed run left half is cut off."""
        if not self._path.exists():
            return []
        whole, newline, _ = self._path.read_bytes().rpartition(b"\n")
        with open(self._path, "r+b") as file:
            file.truncate(len(whole) + len(newline))
        return [json.loads(line) for line in whole.split(b"\n") if line]

    @property
    def finished(self) -> set[tuple[str, int]]:
        """Task id and sample of every row."""
        return {(row["task_id"], row["sample"]) for row in self.rows}

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows; they are on disk when this returns."""
        rows = list(rows)
        with open(self._path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self.rows += rows


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(value, indent=2) + "\n")
    unfinished.rename(path)
