"""Whether drafts are worth reading, as measured while answering."""

from collections import Counter

_TRIAL_EVERY = 24
"""Calls of which one is made the other way: what is lost if it is slower is a few percent."""

_WEIGHT = 0.3
"""Of the latest call in the mean."""


class Pace:
    """Chooses by how fast answers came with drafts and without.

    Both are tried again and again, since conversations change.

    Args:
      draft_tokens: tokens that may be looked up for each forward.
    """

    def __init__(self, draft_tokens: int):
        self._draft_tokens = draft_tokens
        self._speeds: dict[int, float] = {}
        self._noted: Counter[int] = Counter()
        self._calls = 0

    def choose(self) -> int:
        """How many tokens to look up for each forward of the next call."""
        if not self._draft_tokens:
            return 0
        self._calls += 1
        for count in (self._draft_tokens, 0):
            if count not in self._speeds:
                return count
        best = max(self._speeds, key=self._speeds.__getitem__)
        return self._draft_tokens - best if self._calls % _TRIAL_EVERY == 0 else best

    def note(self, draft_tokens: int, tokens: float, seconds: float) -> None:
        """What a forward gave: tokens of an answer, in how many seconds."""
        self._noted[draft_tokens] += 1
        if self._noted[draft_tokens] > 1:  # the first may have been compiling
            speed = tokens / max(seconds, 1e-6)
            known = self._speeds.get(draft_tokens, speed)
            self._speeds[draft_tokens] = known + _WEIGHT * (speed - known)
