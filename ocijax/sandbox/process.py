"""Runs one job in a confined process: feeds it, drains it, watches the clock, has it killed."""

import contextlib
import marshal
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ocijax.sandbox.capture import Capture
from ocijax.sandbox.encoding import ANSWER_BYTES, LATE_BYTES, frame
from ocijax.sandbox.errors import SandboxError
from ocijax.sandbox.pool import Launcher, Pool, refusal

_START_SECONDS = 60.0
_END_SECONDS = 30.0
_WAKE_SECONDS = 0.2
_TRANSFER_SECONDS = 5.0
_FLOOD = 1024
_ERROR_BYTES = 64 << 10  # of an error in words, and around a value
_CHUNK = 1 << 18
_LEAST_WAIT = 0.01
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the kernel, of a whole process

Cause = Literal["exit", "signal", "memory", "timeout", "output", "garbled", "done", "oversize"]

_OWN_ENDINGS: tuple[Cause, ...] = ("oversize", "memory", "exit", "signal")


class Time(NamedTuple):
    """Time that has passed, or that may: on the clock, and of the process on a CPU, in seconds.

    Where both are limited, waiting for a CPU does not count by the clock.
    """

    wall: float
    cpu: float = math.inf


_NO_TIME = Time(0.0, 0.0)


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
      cause: ``exit`` and ``signal`` of its own accord; ``oversize`` where the job did not fit into
        its memory, and never began; the others are why we stopped it: it and those it forked held
        too much memory, its time was up, it printed too much, it wrote what is no frame, nothing
        more was wanted.
      number: exit status or signal.
      stdout: what was printed, and ``stderr``.
      stderr: see ``stdout``.
      seconds: from the start of the program to its end.
      cpu_seconds: of it and those it forked.
      peak_bytes: the most memory that one of them held.
      layers: names of what kept it in.
    """

    cause: Cause
    number: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    layers: tuple[str, ...]


def execute(
    pool: Pool,
    job: dict[str, Any],
    *,
    stdin: bytes,
    allowed: Time,
    output_bytes: int,
    frame_bytes: int,
    receive: Callable[[bytes, Time], Time | None],
    cancelled: int,
) -> Ending:
    """Runs ``job`` and returns how it ended; nothing of it is left then.

    Args:
      pool: of launchers, one of which runs it.
      job: what `launcher.py` reads.
      stdin: what the program can read.
      allowed: until the first frame, or the end where none comes.
      output_bytes: kept of stdout and of stderr; at 1024 times as much the program is stopped.
      frame_bytes: longest frame that the program may answer with.
      receive: called with each frame and the time since the one before (or the start); returns
        the time for the next, or ``None`` when no more is wanted.
      cancelled: descriptor that is readable once the job is to be given up.

    Raises:
      SandboxError: the process could not be confined, so that the program never ran.
    """
    with started(
        pool,
        job,
        output_bytes=output_bytes,
        frame_bytes=frame_bytes,
        receive=receive,
        stdin=stdin,
    ) as run:
        return run.watch(allowed, cancelled)


@contextlib.contextmanager
def started(
    pool: Pool,
    job: dict[str, Any],
    *,
    output_bytes: int,
    frame_bytes: int,
    receive: Callable[[bytes, Time], Time | None],
    stdin: bytes | None = None,
) -> Iterator["Run"]:
    """Starts ``job``, to be watched; nothing of it is left on leaving the block.

    Args:
      pool: see `execute`, as for all that is not named here.
      job: see there.
      output_bytes: see there.
      frame_bytes: see there.
      receive: see there, but where ``stdin`` is left out, ``None`` has the watching pause.
      stdin: what the program can read; left out, it stays open for `Run.send`.
    """
    mine, theirs = _open_pipes()
    if job["command"] is not None:
        for descriptor in theirs[1:4]:
            os.fchmod(descriptor, 0o666)  # programs open their streams again by name, as nobody
    run = Run(mine, job, stdin, output_bytes, frame_bytes, receive)
    try:
        launcher = pool.begin(theirs, sum(map(len, job["files"].values())))
    except BaseException:
        run.close()
        raise
    finally:
        _close(theirs)
    try:
        run.begin(launcher)
        yield run
        run.end()
    finally:
        run.close()
        pool.end(launcher, run.gone)


def _open_pipes() -> tuple[list[int], list[int]]:
    """Five pipes: the job itself, stdin, stdout, stderr, results; our ends, then the other ends."""
    mine, theirs = [], []
    for index in range(5):
        reading, writing = os.pipe()
        ours_writes = index < 2
        mine.append(writing if ours_writes else reading)
        theirs.append(reading if ours_writes else writing)
    for descriptor in mine:
        os.set_blocking(descriptor, False)
    return mine, theirs


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Run:
    """The descriptors of one job and what has come through them.

    Attributes:
      gone: whether nothing of the job is left, and its launcher ready for another.
      layers: names of what keeps it in.
    """

    def __init__(self, descriptors, job, stdin, output_bytes, frame_bytes, receive):
        self.gone = False
        self._job, self._stdin, self._stdout, self._stderr, self._results = descriptors
        self._open = set(descriptors)
        self._stays = stdin is None
        self._resting = False
        self._outgoing = {
            self._stdin: memoryview(stdin or b""),
            self._job: memoryview(frame(marshal.dumps(job))),
        }
        self._output_bytes = output_bytes
        self._frame_bytes = frame_bytes
        self._captures = self._new_captures()
        self._receive = receive
        self._cancelled: int | None = None
        self._frames = bytearray()
        self._received = 0
        self._report = bytearray()
        self._lost = False
        self._began: float | None = None
        self._last = self._allowed = _NO_TIME
        self._clock = 0
        self._process = 0
        self._forgiven = 0.0
        self._deadline: float | None = time.monotonic() + _START_SECONDS
        self._cause: Cause | None = None
        self._killed = math.inf
        self._poll = select.poll()
        self._watched: set[int] = set()
        for descriptor in (self._job, self._stdin):
            self._feed(descriptor)  # the job is there to be read when its process starts
            if self._outgoing.get(descriptor):
                self._listen(descriptor, select.POLLOUT)
        for descriptor in (*self._captures, self._results):
            self._listen(descriptor)

    def begin(self, launcher: Launcher) -> None:
        """Hears of the job from the launcher that has been given its descriptors."""
        self.layers = launcher.layers
        self._launcher = launcher
        self._status = launcher.status
        self._listen(self._status)

    def _new_captures(self) -> dict[int, Capture]:
        return {stream: Capture(self._output_bytes) for stream in (self._stdout, self._stderr)}

    def close(self) -> None:
        """Closes every descriptor that is its own."""
        for descriptor in list(self._open):
            self._drop(descriptor)

    def end(self) -> None:
        """Has the process killed where it has not ended, and waits until nothing of it is left."""
        if not self._over():
            self._kill("done")
            self._resting = False
            self._serve_on()

    def alive(self) -> bool:
        """Returns whether the process still runs, having read what came since it was watched."""
        while self._status in self._serve_ready(0.0):
            pass
        return self._cause is None and not self._over()

    def _over(self) -> bool:
        return self.gone or self._lost

    def send(self, data: bytes) -> None:
        """Adds ``data`` to what the program can read."""
        self._outgoing[self._stdin] = memoryview(bytes(self._outgoing[self._stdin]) + data)
        if self._stdin not in self._watched:
            self._listen(self._stdin, select.POLLOUT)

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
            self._deadline = self._next_deadline(self._last)
        self._cancelled = cancelled
        self._listen(cancelled)
        self._serve_on()
        self._ignore(cancelled)
        ending = None if self._resting else self._ending()
        return None if self._resting else ending  # what it answered last may be read at its end

    def _serve_on(self) -> None:
        while not self._over() and not self._resting:
            ready = self._serve_ready(max(0.0, self._deadline - time.monotonic()))
            if self._resting:
                return
            late = time.monotonic() - self._deadline
            # A frame on its way was in time: it is we who are slow to read it.
            if late >= (_TRANSFER_SECONDS if self._results in ready else 0.0):
                if self._began is not None and self._cause is None:
                    self._forgive_starvation()
                    self._deadline = self._next_deadline(self._now())
                if self._deadline <= time.monotonic():
                    self._expire()

    def _serve_ready(self, wait: float) -> list[int]:
        ready = [descriptor for descriptor, _ in self._poll.poll(math.ceil(1000 * wait))]
        ready.sort(key=self._status.__ne__)  # that it started is known before what it answers
        for descriptor in ready:
            if descriptor in self._watched:
                self._serve(descriptor)
        return ready

    def _listen(self, descriptor: int, events: int = select.POLLIN) -> None:
        self._watched.add(descriptor)
        self._poll.register(descriptor, events)

    def _ignore(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.remove(descriptor)
            self._poll.unregister(descriptor)

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._outgoing:
            self._feed(descriptor)
        elif descriptor == self._cancelled:
            self._ignore(descriptor)
            self._kill("done")
        elif descriptor == self._status:
            self._hear()
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
        if descriptor == self._stdin and self._stays:
            self._ignore(descriptor)
        else:
            self._drop(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Takes what is there; returns whether there was anything, be it the end."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._drop(descriptor)
        elif descriptor == self._results:
            self._collect(data)
        else:
            self._captures[descriptor].add(data)
            if self._captures[descriptor].total > _FLOOD * self._output_bytes:
                self._kill("output")
        return True

    def _hear(self) -> None:
        """Takes a line of the launcher's, or notices that it has ended."""
        try:
            line = os.read(self._status, _CHUNK)
        except ConnectionError:
            line = b""
        self._lost = not line
        if self._lost:
            self._ignore(self._status)
        self.gone = line.endswith(b"gone\n")
        self._report += line
        if self._began is None and line.startswith(b"started "):
            self._begin(int(line[8:]))

    def _collect(self, data: bytes) -> None:
        if self._cause is not None or self._began is None:  # too late, or no answer of a program
            return
        self._frames += data
        now = self._now()
        passed = Time(now.wall - self._last.wall, now.cpu - self._last.cpu)
        allowed: Time | None = None
        while len(self._frames) >= 8:
            length = int.from_bytes(self._frames[:8], "big")
            limit = self._frame_bytes if self._received < ANSWER_BYTES else LATE_BYTES
            if length > max(limit, LATE_BYTES) + _ERROR_BYTES:
                self._kill("garbled")
                return
            if len(self._frames) < 8 + length:
                break
            self._received += length
            answer = bytes(self._frames[8 : 8 + length])
            del self._frames[: 8 + length]
            allowed = self._receive(answer, passed)
            if allowed is None:
                self._resting = self._stays
                if not self._stays:
                    self._kill("done")
                return
            passed = _NO_TIME  # of what came with it nobody can say more
        if allowed is not None:
            self._allowed = allowed
            self._last = Time(time.monotonic(), now.cpu)
            self._deadline = self._next_deadline(self._last)

    def _begin(self, process: int) -> None:
        self._process = process
        self._clock = ~process << 3 | _PROCESS_CLOCK
        self._last = self._now()
        self._began = self._last.wall
        self._deadline = self._next_deadline(self._last)

    def _now(self) -> Time:
        """The time now; that of the process stands still when it has ended."""
        try:
            cpu = time.clock_gettime(self._clock)
        except OSError:
            cpu = self._last.cpu
        return Time(time.monotonic(), cpu)

    def _next_deadline(self, now: Time) -> float:
        """When the time allowed can be over at the earliest."""
        cpu = self._allowed.cpu - (now.cpu - self._last.cpu)
        wait = max(cpu, _LEAST_WAIT) if cpu > 0 else 0.0
        return min(self._last.wall + self._allowed.wall, now.wall + wait)

    def _forgive_starvation(self) -> None:
        """Adds to the time by the clock what the process was ready to run and had no CPU.

        Only where time on a CPU is limited too, which ends what never waits for anything else.
        """
        if self._allowed.cpu == math.inf:
            return
        try:
            with open(f"/proc/{self._process}/schedstat") as file:
                starved = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):  # it has ended, or the kernel keeps no such statistics
            return
        self._allowed = Time(self._allowed.wall + starved - self._forgiven, self._allowed.cpu)
        self._forgiven = starved

    def _expire(self) -> None:
        if self._cause is not None:
            if time.monotonic() > self._killed + _END_SECONDS:
                raise SandboxError(
                    "the sandbox's launcher does not end a process: restart this program"
                )
            self._launcher.wake()
            self._deadline = time.monotonic() + _WAKE_SECONDS
            return
        if self._began is None:
            raise SandboxError(
                f"a sandbox did not start within {_START_SECONDS:g} s: run fewer at a time"
            )
        self._kill("timeout")

    def _kill(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
            self._killed = time.monotonic()
            self._launcher.end_job()
            self._deadline = self._killed + _WAKE_SECONDS

    def _drop(self, descriptor: int) -> None:
        self._ignore(descriptor)
        self._outgoing.pop(descriptor, None)  # another may soon have its number
        self._open.remove(descriptor)
        os.close(descriptor)

    def _ending(self) -> Ending:
        ended = time.monotonic()
        for descriptor in (self._results, *self._captures):
            while descriptor in self._open and self._read(descriptor):
                pass
        lines = self._report.decode("utf-8", "backslashreplace").splitlines()
        refusals = [line for line in lines if line.startswith("refused ")]
        if refusals:
            raise refusal(refusals[0][8:])
        said = dict(line.partition(" ")[::2] for line in lines)
        cause, number = self._cause, 0
        if cause is None:
            cause = next((cause for cause in _OWN_ENDINGS if cause in said), "signal")
            number = int(said.get(cause, signal.SIGKILL))
        killed = (cause, number) == ("signal", signal.SIGKILL)
        if killed and self._launcher.cgroup.has_killed():
            cause, number = "memory", 0
        cpu_seconds, _, peak_bytes = said.get("used", "0 0").partition(" ")
        return Ending(
            cause,
            number,
            self._captures[self._stdout].text(),
            self._captures[self._stderr].text(),
            ended - (self._began if self._began is not None else ended),
            float(cpu_seconds),
            int(peak_bytes),
            self.layers,
        )
