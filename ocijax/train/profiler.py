"""Traces of some steps by JAX's profiler, for TensorBoard or Perfetto."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax


class Profiler:
    """Traces from one step to another; use as a context manager.

    Args:
      folder: gets the traces.
      steps: the first and the last to trace; empty: none.
    """

    def __init__(self, folder: Path, steps: Sequence[int]):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def before(self, step: int, done: Any) -> None:
        """A step is about to begin; ``done`` are arrays that the one before it gives."""
        if step == self._first:
            jax.block_until_ready(done)
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, step: int, done: Any) -> None:
        """A step was dispatched; ``done`` are arrays that it gives."""
        if step == self._last:
            jax.block_until_ready(done)
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
