"""What one asks of anything that answers conversations, and what comes back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ocijax.conversation import Conversation
from ocijax.errors import InputError


@dataclass(frozen=True)
class SamplingSettings:
    """How to answer.

    Attributes:
      max_new_tokens: cap on the generated tokens of one answer; the model's context is another.
      temperature: 0 is greedy.
      top_p: nucleus: the smallest set of tokens with at least this probability (arXiv 1904.09751).
      seed: answers are a function of (parameters, conversation, settings, index in the call);
        from 0 to 2**32 - 1.
      stop: strings that end an answer; they are not part of it.
      top_k: draw from so many most probable tokens, within which ``top_p`` counts; 0: from all.
      log_probabilities: whether completions have those of their tokens.

    Raises:
      InputError: a value is out of its range.
    """

    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_k: int = 0
    log_probabilities: bool = False

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens must be at least 1, is {self.max_new_tokens}")
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature must be 0 or more, is {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, is {self.top_p}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be from 0 to 2**32 - 1, is {self.seed}")
        if not 0 <= self.top_k < 2**31:
            raise InputError(f"top_k must be from 0 to 2**31 - 1, is {self.top_k}")
        if "" in self.stop:
            raise InputError("a stop string is empty; leave it out")


@dataclass(frozen=True)
class Completion:
    """One answer.

    Attributes:
      text: what the assistant said, without end-of-turn token or stop string.
      tokens: generated ids, the end-of-turn token included where it was generated; up to the one
        that completes a stop string.
      finish_reason: ``stop`` (end of turn or stop string) or ``length``.
      log_probabilities: natural logarithms of the probabilities of the generated tokens, by the
        model's softmax at temperature 1 over all tokens, whatever they were drawn by; empty where
        they were not asked for.
      counted: how many tokens an endpoint says it has generated, which does not say which.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    log_probabilities: tuple[float, ...] = ()
    counted: int = 0

    @property
    def generated_tokens(self) -> int:
        """How many; 0 where it is not known."""
        return len(self.tokens) or self.counted


class Generator(Protocol):
    """Anything that answers: the sampler, an endpoint, a replay of recorded answers."""

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; each ends with a user turn."""

    def forget(self, conversation: Conversation) -> None:
        """Tells that a conversation, which ends with an answer, will not go on."""
