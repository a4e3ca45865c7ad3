"""Several processes as one run: how they find each other, stop together and end together."""

import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from absl import flags
from jax.experimental import multihost_utils

from launch import last_words
from ocijax.errors import InputError

_SILENCE_SECONDS = 30
"""After that long without a sign of life a process counts as dead, and the others end."""

_PEER_FAILED = re.compile(r"gloo|nccl|connection|socket|unavailable|preempt|barrier", re.IGNORECASE)
"""What JAX's errors say where a collective fails because of another process."""

_REMEDY = (
    "if another process ended, its own output says why; run the same command again in all of them "
    "to go on"
)


def define_flags() -> None:
    """The flags of `joined`; those who need none are TPU pods, SLURM, Open MPI and Kubernetes."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT at which the process of index 0 can be reached, for a run of several processes;"
        " without it, as a TPU pod, SLURM, Open MPI or Kubernetes say.",
    )
    flags.DEFINE_integer("process_count", None, "Processes in all; with --coordinator.")
    flags.DEFINE_integer("process_index", None, "Index of this one, from 0; with --coordinator.")


@contextmanager
def joined(
    coordinator: str | None, process_count: int | None, process_index: int | None
) -> Iterator[None]:
    """Makes this process one of those of the run; enter it before JAX computes anything.

    Without arguments they come from the environment, where JAX knows it, and the process stays
    alone elsewhere. Where several processes form the run, an error inside ends this one at once,
    and the others within a minute.

    Args:
      coordinator: ``host:port`` of the process of index 0.
      process_count: processes in all.
      process_index: of this one, from 0.

    Raises:
      InputError: only some of the three are given, or the others were not found.
    """
    given = [value is not None for value in (coordinator, process_count, process_index)]
    if any(given) and not all(given):
        raise InputError(
            "--coordinator, --process_count and --process_index belong together; give all three"
        )
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(f"--coordinator={coordinator}: must be HOST:PORT")
    if all(given) and not 0 <= process_index < process_count:
        raise InputError(
            f"--process_index={process_index}: must lie in [0, --process_count={process_count})"
        )
    terminal = _report_end()
    _initialize(coordinator, process_count, process_index)
    if jax.process_count() == 1:
        os.dup2(terminal, 2)
        yield
        return
    try:
        yield
    except BaseException as error:
        # Not by sys.exit: JAX would wait there for the others, which wait for this one.
        os._exit(_describe(error))


def _initialize(coordinator: str | None, count: int | None, index: int | None) -> None:
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            heartbeat_timeout_seconds=_SILENCE_SECONDS,
            shutdown_timeout_seconds=_SILENCE_SECONDS,
        )
    except ValueError as error:
        if coordinator is None and "coordinator_address should be defined" in str(error):
            return
        raise InputError(f"the environment names no whole set of processes: {error}") from error
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"--coordinator={coordinator}: the processes did not find each other: "
            f"{_first_line(error)}"
        ) from error


def _report_end() -> int:
    """Hands what is written to the file of standard error to `launch.last_words`.

    Python's own standard error stays what it is, a terminal where it is one; returns its file.
    """
    reading, writing = os.pipe()
    own = os.dup(2)
    subprocess.Popen(
        [sys.executable, "-S", "-E", Path(last_words.__file__)],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    sys.stderr.flush()
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
    return own


def _describe(error: BaseException) -> int:
    """Writes what ended this process, and returns its exit status."""
    sys.stdout.flush()
    status = 1
    if failed := next(filter(_is_of_peer, _causes(error)), None):
        status, reason = os.EX_TEMPFAIL, f"{_first_line(failed)}; {_REMEDY}"
    elif isinstance(error, KeyboardInterrupt):
        status, reason = 128 + signal.SIGINT, "interrupted"
    elif isinstance(error, InputError):
        reason = str(error)
    else:
        traceback.print_exception(error)
        reason = type(error).__name__
    place = f"process {jax.process_index()} of {jax.process_count()}"
    os.write(2, f"error: {place}: {reason}\n".encode())
    return status


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_peer(error: BaseException) -> bool:
    return isinstance(error, jax.errors.JaxRuntimeError) and bool(_PEER_FAILED.search(str(error)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


class Interruption:
    """Whether a run is to stop: SIGTERM or Ctrl-C has come; the second Ctrl-C ends it at once.

    Of several processes each may get the signal; they agree on the step after which all stop. As a
    context manager it listens only inside.
    """

    def __init__(self):
        self._received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        self._several = jax.process_count() > 1
        # With several processes, SIGTERM is JAX's own notice of preemption.
        for number in (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        del number, frame
        self._received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)

    def __call__(self, step: int) -> bool:
        """Whether to stop after this step; asked after each, in every process."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received
