"""Conversations: role-tagged messages, what data, training and evaluation pass around."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = ("system", "user", "assistant")


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
