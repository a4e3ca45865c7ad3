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
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    interruption = _Interruption()
    begun = threads.submit(interruption.watch, work)
    begun.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    try:
        await ended.wait()
    except asyncio.CancelledError:
        interruption.set()
        if not begun.cancel():
            await ended.wait()
        raise
    return begun.result()


class _Interruption:
    """A descriptor that is open while the work is done only, so that any number may queue."""

    def __init__(self):
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._set = False

    def set(self) -> None:
        with self._lock:
            self._set = True
            self._tell()

    def watch(self, work: Callable[[int], T]) -> T:
        descriptor = os.eventfd(0)
        with self._lock:
            self._descriptor = descriptor
            self._tell()
        try:
            return work(descriptor)
        finally:
            with self._lock:
                self._descriptor = None
            os.close(descriptor)

    def _tell(self) -> None:
        if self._set and self._descriptor is not None:
            os.eventfd_write(self._descriptor, 1)
