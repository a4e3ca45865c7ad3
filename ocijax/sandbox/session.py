"""Executes cells one after another in one confined process, as a notebook does."""

import asyncio
import contextlib
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

from ocijax.errors import InputError
from ocijax.sandbox.encoding import encode, frame
from ocijax.sandbox.interruption import interruptible
from ocijax.sandbox.process import Run, Time
from ocijax.sandbox.report import end_status, end_text, outcome
from ocijax.sandbox.result import ExecutionResult, Limits, Outcome
from ocijax.sandbox.sandbox import Sandbox


class Session:
    """A process of its own, in which the variables and files of one cell are there in the next.

    It is isolated as the programs of a `Sandbox` are, and is never used for another session. When
    it ends (by itself, at a limit of a cell, or because `execute` was cancelled) all that it had
    started ends too, and everything that cells had made is lost; the next cell finds a fresh
    process, and its result says so in ``restarted``. Threads and processes that a cell leaves
    running go on between cells, within the limits.

    Use it as an asynchronous context manager, or `close` it; one that is forgotten is closed when
    it is collected.

    Args:
      limits: ``wall_seconds`` and ``output_bytes`` are of each cell; the others, also the CPU time,
        of the process.
      isolation: as in `Sandbox`.
      packages: likewise.

    Raises:
      InputError: unknown isolation, or a package that is not installed.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008  frozen
        isolation: Literal["namespaces", "limits"] = "namespaces",
        packages: Iterable[str] = (),
    ):
        self._sandbox = Sandbox(limits, isolation, packages)
        self._thread = ThreadPoolExecutor(1, "session")
        self._turn = asyncio.Lock()
        self._answer = _Answer()
        self._resources = contextlib.ExitStack()
        self._close = weakref.finalize(self, self._resources.close)
        self._run: Run | None = None
        self._cells = 0

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def execute(self, cell: str) -> ExecutionResult:
        """Executes ``cell``; several are executed in the order in which they were asked for.

        The value of an expression that ends it is shown on stdout. An exception, `SystemExit` too,
        is the cell's error and leaves the process as it is; its traceback names the cells by their
        number: ``<cell 1>``. Standard input is empty. The result has an exit code or a signal only
        where the process ended, and the last line of ``stderr`` then says how.

        Args:
          cell: Python source.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: the session has been closed.
        """
        async with self._turn:
            if not self._close.alive:
                raise InputError("the session is closed: open another")
            return await interruptible(self._thread, partial(self._execute, cell))

    async def close(self) -> None:
        """Ends the process, once a cell that is being executed has come to its end."""
        async with self._turn:
            if self._close.alive:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
                self._thread.shutdown()

    def _execute(self, cell: str, cancelled: int) -> ExecutionResult:
        running = self._run is not None and self._run.alive()
        if not running:
            self._start()
        restarted = not running and self._cells > 0
        self._cells += 1
        self._run.send(frame(encode((self._cells, cell))))
        try:
            ending = self._run.watch(Time(self._sandbox.limits.wall_seconds), cancelled)
        except BaseException:
            self._end()
            raise
        if ending is not None:
            self._end()
            return ExecutionResult(
                status=end_status(ending, "error"),
                stdout=ending.stdout,
                stderr=_with_line(ending.stderr, end_text(ending)),
                exit_code=ending.number if ending.cause == "exit" else None,
                signal=ending.number if ending.cause == "signal" else None,
                wall_seconds=ending.seconds,
                isolation=self._sandbox.isolation,
                layers=ending.layers,
                cpu_seconds=ending.cpu_seconds,
                peak_bytes=ending.peak_bytes,
                restarted=restarted,
            )
        stdout, stderr = self._run.take_output()
        answer = self._answer.outcome
        return ExecutionResult(
            status=answer.status,
            stdout=stdout,
            stderr=_with_line(stderr, answer.error),
            exit_code=None,
            signal=None,
            wall_seconds=answer.wall_seconds,
            isolation=self._sandbox.isolation,
            layers=self._run.layers,
            cpu_seconds=answer.cpu_seconds,
            restarted=restarted,
        )

    def _start(self) -> None:
        self._end()
        self._run = self._resources.enter_context(self._sandbox._session(self._answer.receive))

    def _end(self) -> None:
        self._run = None
        self._resources.close()


class _Answer:
    """What the process said last; apart from the session, so that this can be collected."""

    outcome: Outcome

    def receive(self, frame: bytes, passed: Time) -> None:
        self.outcome = outcome(frame, passed)


def _with_line(printed: str, line: str) -> str:
    if not line:
        return printed
    gap = "" if not printed or printed.endswith("\n") else "\n"
    return f"{printed}{gap}{line}\n"
