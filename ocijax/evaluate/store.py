"""Results on disk: durable as they come, never twice, never mixed with another run's.

WORKDIR/settings.json   what makes the run
WORKDIR/answers.jsonl   one row a call of the generator, see ocijax.evaluate.record
WORKDIR/results.jsonl   one row a task and sample
WORKDIR/summary.json    see ocijax.evaluate.summary
"""

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocijax.configuration import differences
from ocijax.errors import InputError
from ocijax.whole_file import left_unfinished, whole_file

Row = dict[str, Any]


class RowLog:
    """A JSON lines file that grows; held by one process at a time, any of whose threads may add.

    Args:
      path: made where absent; a last line that a killed run left half is cut off.

    Raises:
      InputError: another process holds the file, it cannot be opened, or a row is damaged.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        try:
            # Unbuffered: closing after a failed write has nothing left to write.
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  open as long as this object
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path}: another run is writing it; wait for its end") from None
        except OSError as error:
            raise InputError(f"{path}: cannot open it: {error.strerror}") from error
        self._file.seek(0)
        whole, newline, _ = self._file.read().rpartition(b"\n")
        self._file.truncate(len(whole) + len(newline))
        self.rows = _parsed(whole, path, "choose another")

    def append(self, row: Row) -> None:
        """Adds a row; it is on disk when this returns.

        Raises:
          InputError: it cannot be written; the rows before are whole.
        """
        left = memoryview(json.dumps(row).encode() + b"\n")
        with self._lock:
            try:
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
            except OSError as error:
                raise InputError(f"{self._path}: cannot write it: {error.strerror}") from error
            self.rows.append(row)

    def close(self) -> None:
        """Lets others have the file."""
        self._file.close()


def read_log(path: str | Path) -> list[Row]:
    """The rows of a `RowLog` that others may be writing; a half last line is passed over.

    Raises:
      InputError: it cannot be read, or a row is damaged.
    """
    try:
        whole, _, _ = Path(path).read_bytes().rpartition(b"\n")
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    return _parsed(whole, path, "mend or remove it")


def _parsed(lines: bytes, path: str | Path, remedy: str) -> list[Row]:
    rows = []
    for number, line in enumerate(lines.split(b"\n") if lines else [], start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}: damaged: {error}; {remedy}") from error
    return rows


class ResultStore:
    """The results of one run; begun anew, it goes on where it was. Use as a context manager.

    Args:
      workdir: made where absent.
      settings: what makes the run, as JSON can hold it.

    Raises:
      InputError: the workdir belongs to a run with other settings, or holds something else, or
        another process is using it.
    """

    def __init__(self, workdir: str | Path, settings: Mapping[str, Any]):
        self.workdir = Path(workdir)
        self._claim(json.loads(json.dumps(dict(settings))))
        self.results = RowLog(self.workdir / "results.jsonl")
        self.answers = RowLog(self.workdir / "answers.jsonl")

    def __enter__(self) -> "ResultStore":
        return self

    def __exit__(self, *_) -> None:
        self.results.close()
        self.answers.close()

    @property
    def rows(self) -> list[Row]:
        """The results so far, in the order in which they came."""
        return self.results.rows

    def finished(self) -> dict[tuple[str, int], Row]:
        """The results so far by task id and sample."""
        return {(row["task_id"], row["sample"]): row for row in self.rows}

    def _claim(self, settings: Mapping[str, Any]) -> None:
        path = self.workdir / "settings.json"
        if path.exists():
            stored = _read_settings(path)
            for name, there, here in differences(identity(stored), identity(settings), "run"):
                raise InputError(
                    f"--workdir={self.workdir}: belongs to a run with "
                    f"{name.removeprefix('run.')}={there!r}, not {here!r}; choose another"
                )
            return
        # A run killed while it claimed the folder leaves the half of its settings file.
        if self.workdir.exists() and not (
            self.workdir.is_dir()
            and all(left_unfinished(one, path.name) for one in self.workdir.iterdir())
        ):
            raise InputError(f"--workdir={self.workdir}: holds files but no run; choose another")
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--workdir={self.workdir}: cannot write: {error.strerror}") from error
        write_json(path, settings)


def identity(settings: Mapping[str, Any]) -> Row:
    """What tells a run from others: what its model is called does not, where its content does."""
    return {
        name: value
        for name, value in settings.items()
        if name != "model" or "model_sha256" not in settings
    }


def _read_settings(path: Path) -> Row:
    try:
        stored = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: {error}; choose another workdir") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path}: damaged: not a JSON object; choose another workdir")
    return stored


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all.

    Raises:
      InputError: it cannot be written; what was there before is whole.
    """
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2) + "\n")
