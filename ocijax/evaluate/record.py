"""A generator that remembers: a run that was killed asks for no answer twice."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from ocijax.conversation import Conversation, conversation_to_row
from ocijax.evaluate.store import RowLog
from ocijax.sample.settings import Completion, Generator, SamplingSettings


class RecordedGenerator:
    """Gives recorded completions where a call was made before; see `Generator`.

    A call is known by the hash of its conversations and settings.

    Args:
      generator: answers new calls.
      log: holds the calls; a call's completions are on disk before they are given.
    """

    def __init__(self, generator: Generator, log: RowLog):
        self._generator = generator
        self._log = log
        self._calls = {row["call"]: row["completions"] for row in log.rows}

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order."""
        call = _hash(conversations, settings)
        if call not in self._calls:
            began = time.time()
            completions = self._generator.generate(conversations, settings)
            row = {
                "call": call,
                "completions": [asdict(completion) for completion in completions],
                "began": began,
                "ended": time.time(),
            }
            self._log.append(row)
            self._calls[call] = row["completions"]
        return [
            Completion(**row | {name: tuple(row[name]) for name in ("tokens", "log_probabilities")})
            for row in self._calls[call]
        ]

    def forget(self, conversation: Conversation) -> None:
        """Passed on."""
        self._generator.forget(conversation)


def _hash(conversations: Sequence[Conversation], settings: SamplingSettings) -> str:
    asked = [[conversation_to_row(one) for one in conversations], asdict(settings)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
