"""Runs one job in a confined process: feeds it, drains it, watches the clock, has it killed."""

import contextlib
import math
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ocijax.errors import InputError
from ocijax.sandbox.capture import Capture
from ocijax.sandbox.encoding import ANSWER_BYTES, FRAME_BYTES, LATE_BYTES, encode, frame

_LAUNCHER = Path(__file__).with_name("launcher.py")
_START_SECONDS = 60.0
_END_SECONDS = 30.0
_TRANSFER_SECONDS = 5.0
_FLOOD = 1024
_ERROR_BYTES = 64 << 10  # of an error in words, and around a value
_CHUNK = 1 << 18
_LEAST_WAIT = 0.01
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the kernel, of a whole process


class SandboxError(InputError):
    """The host cannot give the isolation asked for; the message says why and what to do."""


Cause = Literal["exit", "signal", "memory", "timeout", "output", "garbled", "done"]


@dataclass(frozen=True)
class Time:
    """Time that has passed, or that may: on the clock, and of the process on a CPU, in seconds."""

    wall: float
    cpu: float = math.inf


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
      cause: ``exit`` and ``signal`` of its own accord; the others are why we stopped it: it and
        those it forked held too much memory, its time was up, it printed too much, it wrote what
        is no frame, nothing more was wanted.
      number: exit status or signal.
      stdout: what was printed, and ``stderr``.
      stderr: see ``stdout``.
      seconds: from the start of the program to its end.
    """

    cause: Cause
    number: int
    stdout: str
    stderr: str
    seconds: float


class Launcher:
    """The process that forks ours, started at the first job and again if it has died."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._stop = lambda: None

    def send(self, descriptors: list[int]) -> None:
        """Hands over the six descriptors of a job."""
        with self._lock:
            try:
                if self._socket is None:
                    self._start()
                socket.send_fds(self._socket, [b"j"], descriptors)
            except OSError:
                self._stop()
                self._start()
                socket.send_fds(self._socket, [b"j"], descriptors)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        python = os.path.realpath(sys.executable)
        process = subprocess.Popen(
            [python, "-P", "-s", "-S", "-X", "utf8", str(_LAUNCHER)],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0"},  # or what goes through sets would differ from run to run
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        self._stop = weakref.finalize(self, _stop_launcher, self._socket, process)


def _stop_launcher(connection: socket.socket, process: subprocess.Popen) -> None:
    connection.close()
    process.kill()  # and the kernel all that it has forked
    process.wait()


def execute(
    launcher: Launcher,
    job: dict[str, Any],
    *,
    stdin: bytes,
    allowed: Time,
    output_bytes: int,
    receive: Callable[[bytes, Time], Time | None],
    cancelled: int,
) -> Ending:
    """Runs ``job`` and returns how it ended; nothing of it is left then.

    Args:
      launcher: where to run it.
      job: what `launcher.py` reads.
      stdin: what the program can read.
      allowed: until the first frame, or the end where none comes.
      output_bytes: kept of stdout and of stderr; at 1024 times as much the program is stopped.
      receive: called with each frame and the time since the one before (or the start); returns
        the time for the next, or ``None`` when no more is wanted.
      cancelled: descriptor that is readable once the job is to be given up.

    Raises:
      SandboxError: the process could not be confined, so that the program never ran.
    """
    with started(launcher, job, output_bytes=output_bytes, receive=receive, stdin=stdin) as run:
        return run.watch(allowed, cancelled)


@contextlib.contextmanager
def started(
    launcher: Launcher,
    job: dict[str, Any],
    *,
    output_bytes: int,
    receive: Callable[[bytes, Time], Time | None],
    stdin: bytes | None = None,
) -> Iterator["Run"]:
    """Starts ``job``, to be watched; nothing of it is left on leaving the block.

    Args:
      launcher: see `execute`, as for all that is not named here.
      job: see there.
      output_bytes: see there.
      receive: see there, but where ``stdin`` is left out, ``None`` has the watching pause.
      stdin: what the program can read; left out, it stays open for `Run.send`.
    """
    mine, theirs = _open_pipes()
    try:
        launcher.send(theirs)
    except OSError as error:
        _close(mine)
        raise SandboxError(f"cannot start the sandbox's launcher: {error}") from None
    finally:
        _close(theirs)
    run = Run(mine, job, stdin, output_bytes, receive)
    try:
        yield run
        run.end()
    finally:
        run.close()


def _open_pipes() -> tuple[list[int], list[int]]:
    """Six pipes: stdin, stdout, stderr, results, control, status; our ends, then the other ends."""
    mine, theirs = [], []
    for index in range(6):
        reading, writing = os.pipe()
        ours_writes = index in (0, 4)
        mine.append(writing if ours_writes else reading)
        theirs.append(reading if ours_writes else writing)
    for descriptor in mine:
        os.set_blocking(descriptor, False)
    return mine, theirs


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Run:
    """The descriptors of one job and what has come through them."""

    def __init__(self, descriptors, job, stdin, output_bytes, receive):
        self._stdin, self._stdout, self._stderr, self._results, self._control, self._status = (
            descriptors
        )
        self._open = set(descriptors)
        self._stays = stdin is None
        self._resting = False
        self._outgoing = {
            self._stdin: memoryview(stdin or b""),
            self._control: memoryview(frame(encode(job))),
        }
        self._output_bytes = output_bytes
        self._captures = self._new_captures()
        self._receive = receive
        self._cancelled: int | None = None
        self._frames = bytearray()
        self._received = 0
        self._report = bytearray()
        self._began: float | None = None
        self._last = self._allowed = Time(0.0, 0.0)
        self._clock: int | None = None
        self._deadline: float | None = time.monotonic() + _START_SECONDS
        self._cause: Cause | None = None
        self._selector = selectors.DefaultSelector()
        for descriptor in self._outgoing:
            self._selector.register(descriptor, selectors.EVENT_WRITE)
        for descriptor in (*self._captures, self._results, self._status):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _new_captures(self) -> dict[int, Capture]:
        return {stream: Capture(self._output_bytes) for stream in (self._stdout, self._stderr)}

    def close(self) -> None:
        """Closes every descriptor still open, which also has the process killed."""
        for descriptor in list(self._open):
            self._drop(descriptor)
        self._selector.close()

    def end(self) -> None:
        """Has the process killed where it has not ended, and waits until nothing of it is left."""
        if self._status in self._open:
            self._kill("done")
            self._resting = False
            self._serve_on()

    def alive(self) -> bool:
        """Returns whether the process still runs, having read what came since it was watched."""
        while self._status in self._serve_ready(0.0):
            pass
        return self._cause is None and self._status in self._open

    def send(self, data: bytes) -> None:
        """Adds ``data`` to what the program can read."""
        self._outgoing[self._stdin] = memoryview(bytes(self._outgoing[self._stdin]) + data)
        if self._stdin not in self._selector.get_map():
            self._selector.register(self._stdin, selectors.EVENT_WRITE)

    def take_output(self) -> tuple[str, str]:
        """Returns what was printed to stdout and stderr since it was last taken."""
        for descriptor in self._captures:
            if descriptor in self._open:
                self._read(descriptor)  # as much as a pipe holds
        captures, self._captures = self._captures, self._new_captures()
        return captures[self._stdout].text(), captures[self._stderr].text()

    def watch(self, allowed: Time, cancelled: int) -> Ending | None:
        """Serves the process until it has ended; ``None`` where the watching has paused before."""
        self._allowed = allowed
        self._resting = False
        if self._began is not None:
            self._last = self._now()
            self._began = self._last.wall
            self._deadline = self._next_deadline()
        self._cancelled = cancelled
        self._selector.register(cancelled, selectors.EVENT_READ)
        self._serve_on()
        if cancelled in self._selector.get_map():
            self._selector.unregister(cancelled)
        ending = None if self._resting else self._ending()
        return None if self._resting else ending  # what it answered last may be read at its end

    def _serve_on(self) -> None:
        while self._status in self._open and not self._resting:
            ready = self._serve_ready(max(0.0, self._deadline - time.monotonic()))
            if self._resting:
                return
            late = time.monotonic() - self._deadline
            # A frame on its way was in time: it is we who are slow to read it.
            if late >= (_TRANSFER_SECONDS if self._results in ready else 0.0):
                if self._began is not None and self._cause is None:
                    self._deadline = self._next_deadline()
                if self._deadline <= time.monotonic():
                    self._expire()

    def _serve_ready(self, wait: float) -> list[int]:
        ready = [key.fd for key, _ in self._selector.select(wait)]
        ready.sort(key=self._status.__ne__)  # that it started is known before what it answers
        for descriptor in ready:
            if descriptor in self._selector.get_map():
                self._serve(descriptor)
        return ready

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._outgoing:
            self._feed(descriptor)
        elif descriptor == self._cancelled:
            self._selector.unregister(descriptor)
            self._kill("done")
        else:
            self._read(descriptor)

    def _feed(self, descriptor: int) -> None:
        data = self._outgoing[descriptor]
        try:
            data = data[os.write(descriptor, data) :] if data else data
        except BlockingIOError:
            return
        except BrokenPipeError:
            data = data[:0]
        self._outgoing[descriptor] = data
        if data:
            return
        if descriptor == self._control or self._stays:
            self._selector.unregister(descriptor)  # stays open: closing control kills
        else:
            self._drop(descriptor)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._drop(descriptor)
        elif descriptor == self._status:
            self._report += data
            if self._began is None:
                self._begin()
        elif descriptor == self._results:
            self._collect(data)
        else:
            self._captures[descriptor].add(data)
            if self._captures[descriptor].total > _FLOOD * self._output_bytes:
                self._kill("output")

    def _collect(self, data: bytes) -> None:
        if self._cause is not None:
            return
        self._frames += data
        while len(self._frames) >= 8:
            length = int.from_bytes(self._frames[:8], "big")
            limit = FRAME_BYTES if self._received < ANSWER_BYTES else LATE_BYTES
            if length > limit + _ERROR_BYTES:
                self._kill("garbled")
                return
            if len(self._frames) < 8 + length:
                return
            self._received += length
            answer = bytes(self._frames[8 : 8 + length])
            del self._frames[: 8 + length]
            now = self._now()
            if self._began is None:
                self._last = now
            passed = Time(now.wall - self._last.wall, now.cpu - self._last.cpu)
            allowed = self._receive(answer, passed)
            if allowed is None:
                self._resting = self._stays
                if not self._stays:
                    self._kill("done")
                return
            self._allowed = allowed
            self._last = Time(time.monotonic(), now.cpu)
            self._deadline = self._next_deadline()

    def _begin(self) -> None:
        if started := re.search(rb"^started (\d+)\n", self._report, re.MULTILINE):
            self._clock = ~int(started[1]) << 3 | _PROCESS_CLOCK
            self._last = self._now()
            self._began = self._last.wall
            self._deadline = self._next_deadline()

    def _now(self) -> Time:
        """The time now; that of the process stands still when it has ended."""
        cpu = self._last.cpu
        if self._clock is not None:
            with contextlib.suppress(OSError):
                cpu = time.clock_gettime(self._clock)
        return Time(time.monotonic(), cpu)

    def _next_deadline(self) -> float:
        """When the time allowed can be over at the earliest."""
        now = self._now()
        cpu = self._allowed.cpu - (now.cpu - self._last.cpu)
        wait = max(cpu, _LEAST_WAIT) if cpu > 0 else 0.0
        return min(self._last.wall + self._allowed.wall, now.wall + wait)

    def _expire(self) -> None:
        if self._cause is not None:
            raise SandboxError(
                "the sandbox's launcher does not end a process: restart this program"
            )
        if self._began is None:
            raise SandboxError(
                f"a sandbox did not start within {_START_SECONDS:g} s: run fewer at a time"
            )
        self._kill("timeout")

    def _kill(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
            self._drop(self._control)
            self._deadline = time.monotonic() + _END_SECONDS

    def _drop(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        self._open.remove(descriptor)
        os.close(descriptor)

    def _ending(self) -> Ending:
        ended = time.monotonic()
        for descriptor in (self._results, *self._captures):
            while descriptor in self._open and self._pending(descriptor):
                self._read(descriptor)
        lines = self._report.decode("utf-8", "backslashreplace").splitlines()
        refusals = [line for line in lines if line.startswith("refused ")]
        if refusals:
            raise SandboxError(
                f"the host forbids the sandbox's isolation ({refusals[0][8:]}): allow unprivileged "
                'user namespaces, or choose isolation="limits", which is weaker'
            )
        cause, number = self._cause, 0
        if cause is None:
            cause, _, text = lines[-1].partition(" ") if lines else ("", "", "")
            if cause not in ("exit", "signal", "memory"):
                cause, text = "signal", "9"
            number = int(text)
        return Ending(
            cause,
            number,
            self._captures[self._stdout].text(),
            self._captures[self._stderr].text(),
            ended - (self._began if self._began is not None else ended),
        )

    def _pending(self, descriptor: int) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            return bool(selector.select(0))
