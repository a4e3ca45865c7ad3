"""Conversations: role-tagged messages, what data, training and evaluation pass around.

On disk they are JSON lines, the format of Code-Feedback:
``{"id": …, "messages": [{"role": …, "content": …}, …], "source": …, "metadata": {…}}``, where
``source`` and ``metadata`` may be absent and other fields are passed over.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ocijax.errors import InputError

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = ("system", "user", "assistant")

RepeatedUser = Literal["refuse", "merge"]
"""What becomes of user turns in a row: an error, or one turn, joined by an empty line."""

_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Message:
    """One turn. Execution results come back as ``user`` turns."""

    role: Role
    content: str


@dataclass(frozen=True)
class Conversation:
    """A list of messages with an id, a source and free, JSON-serialisable metadata."""

    id: str
    messages: tuple[Message, ...]
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def append(self, role: Role, content: str) -> "Conversation":
        """Returns this conversation with one more message at its end."""
        messages = (*self.messages, Message(role, content))
        return Conversation(self.id, messages, self.source, self.metadata)


def parse_conversation(
    row: Any, default_id: str, repeated_user: RepeatedUser = "refuse"
) -> Conversation:
    """The conversation of one JSON row.

    It may open with a system turn; then user and assistant take turns, the user first, and the
    assistant answers at least once.

    Args:
      row: the row as `json.loads` gives it.
      default_id: id of a row without one.
      repeated_user: what becomes of two user turns in a row.

    Raises:
      InputError: the row is malformed; the message says how, not where.
    """
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    identity = row.get("id", default_id)
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise InputError("its id is neither text nor a whole number")
    if not isinstance(row.get("source", ""), str):
        raise InputError("its source is not text")
    if not isinstance(row.get("metadata", {}), dict):
        raise InputError("its metadata is not a JSON object")
    rows = row.get("messages")
    if not isinstance(rows, list) or not rows:
        raise InputError("it has no messages")
    messages: list[Message] = []
    for index, message in enumerate(rows):
        message = _parse_message(message, f"message {index}")
        previous = messages[-1].role if messages else None
        if message.role == "system" and previous is not None:
            raise InputError(f"message {index} is a system turn, which may only come first")
        if message.role == "assistant" and previous in (None, "system"):
            raise InputError(f"message {index} is an assistant turn before any user turn")
        if message.role == previous == "assistant":
            raise InputError(f"message {index} is a second assistant turn in a row")
        if message.role == previous == "user":
            if repeated_user == "refuse":
                raise InputError(f"message {index} is a second user turn in a row")
            merged = f"{messages.pop().content}\n\n{message.content}"
            message = Message("user", merged)
        messages.append(message)
    if all(message.role != "assistant" for message in messages):
        raise InputError("it has no assistant turn")
    return Conversation(
        str(identity), tuple(messages), row.get("source", ""), row.get("metadata", {})
    )


def _parse_message(row: Any, place: str) -> Message:
    if not isinstance(row, dict):
        raise InputError(f"{place} is not a JSON object")
    role, content = row.get("role"), row.get("content")
    if role not in ROLES:
        raise InputError(f"{place} has the unknown role {role!r}; there are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise InputError(f"{place} ({role}) has no text as its content")
    if not content.strip():
        raise InputError(f"{place} ({role}) is empty")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} ({role}) has half of a surrogate pair") from None
    return Message(role, content)


def scan_conversations(
    path: str | Path, repeated_user: RepeatedUser = "refuse"
) -> tuple[list[Conversation], list[str]]:
    """The conversations of a JSONL file, and every malformed row as ``file:line: what is wrong``.

    Empty lines are passed over.

    Raises:
      InputError: the file cannot be read.
    """
    conversations, problems = [], []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                    default_id = f"{Path(path).name}:{number}"
                    conversations.append(parse_conversation(row, default_id, repeated_user))
                except InputError as error:
                    problems.append(f"{path}:{number}: {error}")
                except (ValueError, RecursionError) as error:
                    problems.append(f"{path}:{number}: not JSON: {error}")
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    return conversations, problems


def read_conversations(
    path: str | Path, repeated_user: RepeatedUser = "refuse"
) -> list[Conversation]:
    """The conversations of a JSONL file.

    Raises:
      InputError: the file cannot be read or has malformed rows; the message names the first few
        by file and line and counts the others.
    """
    conversations, problems = scan_conversations(path, repeated_user)
    if problems:
        raise InputError(summarize_problems(problems))
    return conversations


def summarize_problems(problems: Sequence[str]) -> str:
    """One line with the first few problems and the number of those left out."""
    shown = "; ".join(problems[:_PROBLEMS_SHOWN])
    left_out = len(problems) - _PROBLEMS_SHOWN
    return f"{shown}; and {left_out} more malformed rows" if left_out > 0 else shown


def write_conversations(path: str | Path, conversations: Iterable[Conversation]) -> int:
    """Writes a JSONL file (and its folder), whole or not at all; returns the number of rows.

    Raises:
      InputError: it cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "w", encoding="utf-8") as file:
            for conversation in conversations:
                file.write(json.dumps(_row(conversation), ensure_ascii=False) + "\n")
                count += 1
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: cannot write it: {error.strerror}") from error
    finally:
        if path.parent.is_dir():
            unfinished.unlink(missing_ok=True)
    return count


def _row(conversation: Conversation) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": conversation.id,
        "messages": [
            {"role": message.role, "content": message.content} for message in conversation.messages
        ],
    }
    if conversation.source:
        row["source"] = conversation.source
    if conversation.metadata:
        row["metadata"] = dict(conversation.metadata)
    return row
