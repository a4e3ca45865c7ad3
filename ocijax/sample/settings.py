"""What one asks of anything that answers conversations, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ocijax.conversation import Conversation


@dataclass(frozen=True)
class SamplingSettings:
    """How to answer.

    Attributes:
      max_new_tokens: cap on the generated tokens of one answer.
      temperature: 0 is greedy.
      top_p: nucleus: the smallest set of tokens with at least this probability (arXiv 1904.09751).
      seed: answers are a function of (parameters, conversation, settings, index in the call).
      stop: strings that end an answer; they are not part of it.
    """

    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """One answer.

    Attributes:
      text: what the assistant said, without end-of-turn token or stop string.
      tokens: generated ids, the end-of-turn token included where it was generated.
      finish_reason: ``stop`` (end of turn or stop string) or ``length``.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


class Generator(Protocol):
    """Anything that answers: the sampler, an endpoint, a replay of recorded answers."""

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; each ends with a user turn."""
