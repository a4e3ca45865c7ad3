"""How many of a sampler's slots are busy over time."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ocijax.sample.sampler import Sampler

_LOOK_EVERY = 0.005
_WINDOW = 1.0


class Look(NamedTuple):
    """What was seen at a time.

    Attributes:
      seconds: since the start.
      busy: slots that a conversation has.
    """

    seconds: float
    busy: int


class Watch:
    """Looks at a sampler's slots while requests wait, in a thread of its own; a context manager.

    It begins when all slots are taken for the first time: threads do not ask all at one moment.

    Args:
      sampler: whose slots.
      requests: that there are in all.

    Attributes:
      looks: what was seen, in order.
    """

    def __init__(self, sampler: Sampler, requests: int):
        self._sampler = sampler
        self._left = requests
        self._ended = threading.Event()
        self.looks: list[Look] = []

    def finish(self, count: int) -> None:
        """Tells that so many more are answered."""
        self._left -= count

    def __enter__(self) -> "Watch":
        self._start = time.perf_counter()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        slots = self._sampler.slots
        # As long as more are left than can have one, somebody waits.
        while self._left > slots and not self._ended.is_set():
            busy = slots - self._sampler.free_slots
            if busy == slots or self.looks:
                self.looks.append(Look(time.perf_counter() - self._start, busy))
            time.sleep(_LOOK_EVERY)


def busy_shares(looks: Sequence[Look], slots: int) -> tuple[float, float]:
    """Mean share of slots busy, weighted by time, and the least in any second.

    What is seen holds until the next look. Where there was no whole second, the time that there was
    stands for it; where there was none at all, nothing was busy.
    """
    if len(looks) < 2:
        return 0.0, 0.0
    times = np.array([look.seconds for look in looks])
    shares = np.array([look.busy for look in looks[:-1]]) / slots
    # Between two times, the difference of these sums is what was busy.
    sums = np.concatenate([[0.0], np.cumsum(shares * np.diff(times))])
    length = times[-1] - times[0]
    window = min(_WINDOW, length)
    # A least mean begins or ends where the share changes.
    starts = np.concatenate([times, times - window])
    starts = starts[(starts >= times[0]) & (starts <= times[-1] - window)]
    within = np.interp(starts + window, times, sums) - np.interp(starts, times, sums)
    return float(sums[-1] / length), float(within.min() / window)
