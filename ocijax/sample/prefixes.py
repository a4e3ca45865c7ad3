"""Sequences of tokens, and how many first tokens each has in common with another."""

import numpy as np

_NONE = -1
"""Stands behind what there is of a sequence; no token."""


class Prefixes:
    """So many sequences, empty at first, looked at together, which takes less than one by one.

    Args:
      count: how many.

    Attributes:
      lengths: of each, ``[count]``.
    """

    def __init__(self, count: int):
        self.lengths = np.zeros(count, np.int64)
        self._tokens = np.zeros((count, 0), np.int32)

    def __setitem__(self, index: int, tokens: np.ndarray) -> None:
        """Has one of them be these tokens, ``[length]`` int32."""
        room = self._tokens.shape[1]
        if len(tokens) > room:
            # Twice as many, so that what grows by and by is seldom copied.
            wider = (0, 0), (0, max(len(tokens), 2 * room) - room)
            self._tokens = np.pad(self._tokens, wider, constant_values=_NONE)
        self._tokens[index, : len(tokens)] = tokens
        self._tokens[index, len(tokens) :] = _NONE
        self.lengths[index] = len(tokens)

    def shared(self, tokens: np.ndarray) -> np.ndarray:
        """How many first tokens each has in common with ``tokens``, ``[count]``."""
        held = self._tokens[:, : len(tokens)]
        count, length = held.shape
        # Behind the last that there may be they always differ.
        differ = np.ones((count, length + 1), bool)
        np.not_equal(held, tokens[:length], out=differ[:, :length])
        return differ.argmax(axis=1)
