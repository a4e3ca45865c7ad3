"""Which slot of the cache a conversation takes: the one that holds most of it already.

What was read stays in a slot after its conversation has left, so that the next turn goes on from
there, and others that begin alike copy it.
"""

from dataclasses import dataclass

import numpy as np

from ocijax.sample.prefixes import Prefixes

WORTH_COPYING = 32
"""Tokens in common from which it takes less to copy them and go on from there than to read them."""


@dataclass(frozen=True)
class Place:
    """Where a prompt goes.

    Attributes:
      slot: the slot that it takes.
      source: the slot to copy from first; ``slot`` itself where there is nothing to copy.
      known: how many of its tokens are read then.
    """

    slot: int
    source: int
    known: int


class Slots:
    """What each slot holds, and which are taken.

    Args:
      count: how many there are.
    """

    def __init__(self, count: int):
        self._held, self._promised = Prefixes(count), Prefixes(count)
        self._taken = [False] * count
        self._left = list(range(-count, 0))  # when, in the order of leaving
        self._clock = 0

    @property
    def free(self) -> int:
        """How many are not taken."""
        return self._taken.count(False)

    def known(self, prompt: np.ndarray) -> int:
        """How many first tokens of a prompt need not be read if it takes a slot now."""
        return self._source(prompt)[1]

    def worth_waiting(self, prompt: np.ndarray) -> bool:
        """Whether many more need not be once all is read that slots were taken for."""
        promised = int(self._promised.shared(prompt).max())
        return promised - self.known(prompt) >= WORTH_COPYING

    def take(self, prompt: np.ndarray) -> Place:
        """Takes a slot for a prompt.

        Its own slot, where a conversation goes on; otherwise the one left longest ago, after
        copying from the one that has most in common with it.

        Args:
          prompt: ``[length]`` int32, the tokens to be read.
        """
        source, known, goes_on = self._source(prompt)
        if goes_on:
            slot = source
        else:
            idle = (slot for slot, taken in enumerate(self._taken) if not taken)
            slot = min(idle, key=self._left.__getitem__)
        self._taken[slot] = True
        self._promised[slot] = prompt
        self.hold(slot, prompt[:known])
        return Place(slot, source if known else slot, known)

    def _source(self, prompt: np.ndarray) -> tuple[int, int, bool]:
        """The slot that holds most of a prompt, how many tokens are worth having from there, and
        whether the prompt goes on from all that it holds.
        """
        common = self._held.shared(prompt)
        best = int(common.argmax())
        goes_on = 0 < common[best] == self._held.lengths[best] and not self._taken[best]
        worth_it = goes_on or common[best] >= WORTH_COPYING
        return best, int(common[best]) if worth_it else 0, bool(goes_on)

    def forget(self, tokens: np.ndarray) -> None:
        """Has what holds the first of these tokens, and nothing else, be given away first."""
        common = self._held.shared(tokens)
        for slot in np.flatnonzero((common > 0) & (common == self._held.lengths)):
            if not self._taken[slot]:
                self._left[slot] = -len(self._left)

    def hold(self, slot: int, tokens: np.ndarray) -> None:
        """Notes what a slot holds from now on, keys and values of these tokens."""
        self._held[slot] = tokens

    def leave(self, slot: int, held: np.ndarray) -> None:
        """Frees a slot, which goes on holding these tokens."""
        self._taken[slot] = False
        self._promised[slot] = held
        self.hold(slot, held)
        self._clock += 1
        self._left[slot] = self._clock
