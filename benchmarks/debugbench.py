"""DebugBench's Python repairs as conversations."""

import json
from pathlib import Path

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError


def read_repairs(folder: str) -> list[Conversation]:
    """What was asked, the program with the bug, what it did, and the repaired program.

    Args:
      folder: what ``--data`` says: it has DebugBench's files ``python3_*.json``.

    Raises:
      InputError: there are none.
    """
    files = sorted(Path(folder).glob("python3_*.json"))
    if not files:
        raise InputError(f"--data={folder}: holds no python3_*.json")
    return [_repair(row) for path in files for row in json.loads(path.read_text())]


def _repair(row: dict) -> Conversation:
    return Conversation(
        row["slug"],
        (
            Message("user", row["description"]),
            Message("assistant", f"```python\n{row['buggy_code'].strip()}\n```"),
            Message("user", "Execution result:\nThe program gives a wrong output."),
            Message("assistant", f"```python\n{row['oracle_code'].strip()}\n```"),
        ),
    )
