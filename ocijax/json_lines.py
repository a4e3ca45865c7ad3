"""JSON lines: every malformed row reported by file and line, files written whole or not at all."""

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ocijax.errors import InputError
from ocijax.whole_file import whole_file

Value = TypeVar("Value")

_PROBLEMS_SHOWN = 5


def scan_rows(
    path: str | Path, parse: Callable[[Any, int], Value]
) -> tuple[list[Value], list[str]]:
    """The values of a ``.jsonl`` or ``.jsonl.gz`` file, and its malformed rows as ``file:line: …``.

    Empty lines are passed over.

    Args:
      path: the file.
      parse: makes a value of a row and its line number; refuses it by an InputError.

    Raises:
      InputError: the file cannot be read.
    """
    values, problems = [], []
    opened = gzip.open if str(path).endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                    values.append(parse(row, number))
                except InputError as error:
                    problems.append(f"{path}:{number}: {error}")
                except (ValueError, RecursionError) as error:
                    problems.append(f"{path}:{number}: not JSON: {error}")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot read it: {reason}") from error
    return values, problems


def read_rows(path: str | Path, parse: Callable[[Any, int], Value]) -> list[Value]:
    """The values of a file that has no malformed rows; see `scan_rows`.

    Raises:
      InputError: the file cannot be read or has malformed rows; the message names the first few
        by file and line and counts the others.
    """
    values, problems = scan_rows(path, parse)
    if problems:
        raise InputError(summarize_problems(problems))
    return values


def summarize_problems(problems: Sequence[str]) -> str:
    """One line with the first few problems and the number of those left out."""
    shown = "; ".join(problems[:_PROBLEMS_SHOWN])
    left_out = len(problems) - _PROBLEMS_SHOWN
    return f"{shown}; and {left_out} more malformed rows" if left_out > 0 else shown


def write_rows(path: str | Path, rows: Iterable[Any]) -> int:
    """Writes a file (and its folder), whole or not at all; returns the number of rows.

    Raises:
      InputError: it cannot be written.
    """
    count = 0
    with whole_file(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
