"""Conversations: role-tagged messages, what data, training and evaluation pass around.

On disk they are JSON lines, the format of Code-Feedback:
``{"id": …, "messages": [{"role": …, "content": …}, …], "source": …, "metadata": {…}}``, where
``source`` and ``metadata`` may be absent and other fields are passed over.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ocijax.errors import InputError
from ocijax.json_lines import read_rows, scan_rows, write_rows

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = ("system", "user", "assistant")

RepeatedUser = Literal["refuse", "merge"]
"""What becomes of user turns in a row: an error, or one turn, joined by an empty line."""


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
        message = parse_message(message, f"message {index}")
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


def parse_message(row: Any, place: str) -> Message:
    """The message of one JSON row.

    Args:
      row: the row as `json.loads` gives it; other fields than role and content are passed over.
      place: what error messages call it.

    Raises:
      InputError: the role is not known, or the content is not text or empty.
    """
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

    Raises:
      InputError: the file cannot be read.
    """
    return scan_rows(path, _row_parser(path, repeated_user))


def read_conversations(
    path: str | Path, repeated_user: RepeatedUser = "refuse"
) -> list[Conversation]:
    """The conversations of a JSONL file.

    Raises:
      InputError: the file cannot be read or has malformed rows; the message names the first few
        by file and line and counts the others.
    """
    return read_rows(path, _row_parser(path, repeated_user))


def _row_parser(
    path: str | Path, repeated_user: RepeatedUser
) -> Callable[[Any, int], Conversation]:
    """Makes a conversation of a row and its line number, which names those without an id."""
    return lambda row, number: parse_conversation(row, f"{Path(path).name}:{number}", repeated_user)


def conversation_to_row(conversation: Conversation) -> dict[str, Any]:
    """The conversation as one JSON row; `parse_conversation` reads it back."""
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


def write_conversations(path: str | Path, conversations: Iterable[Conversation]) -> int:
    """Writes a JSONL file (and its folder), whole or not at all; returns the number of rows."""
    return write_rows(path, map(conversation_to_row, conversations))
