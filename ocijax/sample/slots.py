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
        """How many first tokens of a prompt some slot holds."""
        return int(self._held.shared(prompt).max())

    def promised(self, prompt: np.ndarray) -> int:
        """How many some slot holds once all is read that slots were taken for."""
        return int(self._promised.shared(prompt).max())

    def take(self, prompt: np.ndarray) -> Place:
        """Takes a slot for a prompt.

        Its own slot, where a conversation goes on; otherwise the one left longest ago, after
        copying from the one that has most in common with it.

        Args:
          prompt: ``[length]`` int32, the tokens to be read.
        """
        common = self._held.shared(prompt)
        best = int(common.argmax())
        goes_on = 0 < common[best] == self._held.lengths[best] and not self._taken[best]
        if goes_on:
            slot = best
        else:
            idle = (slot for slot, taken in enumerate(self._taken) if not taken)
            slot = min(idle, key=self._left.__getitem__)
        worth_it = goes_on or common[best] >= WORTH_COPYING
        source, known = (best, int(common[best])) if worth_it else (slot, 0)
        self._taken[slot] = True
        self._promised[slot] = prompt
        self.hold(slot, prompt[:known])
        return Place(slot, source, known)

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
