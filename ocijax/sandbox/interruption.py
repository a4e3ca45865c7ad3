"""Work in a thread that learns when nobody waits for it any more."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def interruptible(threads: Executor, work: Callable[[int], T]) -> T:
    """Does ``work`` in a thread; the descriptor it is given is readable once this is cancelled.

    What no thread has begun by then is never begun. A cancelled call returns when ``work`` has.
    """
    interruption = _Interruption()
    begun = threads.submit(interruption.watch, work)
    future = asyncio.wrap_future(begun)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        interruption.set()
        if not begun.cancel():
            await asyncio.wait([future])
        raise


class _Interruption:
    """A pipe that is open while the work is done only, so that any number of works may queue."""

    def __init__(self):
        self._lock = threading.Lock()
        self._writing: int | None = None
        self._set = False

    def set(self) -> None:
        with self._lock:
            self._set = True
            self._tell()

    def watch(self, work: Callable[[int], T]) -> T:
        reading, writing = os.pipe()
        with self._lock:
            self._writing = writing
            self._tell()
        try:
            return work(reading)
        finally:
            with self._lock:
                self._writing = None
            os.close(reading)
            os.close(writing)

    def _tell(self) -> None:
        if self._set and self._writing is not None:
            os.write(self._writing, b"x")
