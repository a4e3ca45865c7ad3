"""Runs programs that nobody has read, in processes that can do nothing but compute."""

import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ocijax.errors import InputError
from ocijax.sandbox.encoding import FRAME_BYTES, LATE_BYTES, EncodingError, Opaque, decode, encode
from ocijax.sandbox.interruption import interruptible
from ocijax.sandbox.process import Ending, Launcher, Time, execute
from ocijax.sandbox.result import CallResult, ExecutionResult, Limits, Outcome, Status

_ERROR_CHARACTERS = 32 << 10
_STATUSES = ("ok", "error", "memory")


class Sandbox:
    """Runs programs, each in a process of its own, as many at a time as there are cores.

    The process has no environment variable, no open file of ours, its own session, limits of the
    kernel on time, memory, files and processes, and an empty directory to work in, which is gone
    afterwards. At the level ``namespaces`` it also sees no other process, no network and of the
    file system only the interpreter and the system's libraries, all read-only; it is an
    unprivileged user without capabilities. The level ``limits`` takes away none of these: a
    program can read what we can, and even kill us.

    May be shared by threads and event loops; ``asyncio.run(sandbox.run(...))`` is fine.

    Args:
      limits: of every execution.
      isolation: ``namespaces``, or ``limits`` for hosts that forbid those.
      packages: names of installed packages that programs may import besides the standard library;
        those that they depend on are to be named too.

    Raises:
      InputError: unknown isolation, or a package that is not installed.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008  frozen
        isolation: Literal["namespaces", "limits"] = "namespaces",
        packages: Iterable[str] = (),
    ):
        if isolation not in ("namespaces", "limits"):
            raise InputError(f"isolation {isolation!r}: choose namespaces or limits")
        self.limits = limits
        self.isolation = isolation
        self.packages = tuple(packages)
        self._packages = dict(place for name in self.packages for place in _places(name))
        self._launcher = Launcher()
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "sandbox")

    async def run(
        self, program: str, stdin: str = "", files: dict[str, str | bytes] | None = None
    ) -> ExecutionResult:
        """Runs ``program`` as a script, to its end or its limits.

        Args:
          program: Python source.
          stdin: what it can read.
          files: contents by relative path, there when it starts.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: a file's path leads out of the working directory.
        """
        job = self._job(program, files=files or {})
        ending = await self._execute(
            job,
            stdin=stdin.encode("utf-8", "surrogatepass"),
            allowed=Time(self.limits.wall_seconds),
            receive=(claim := _Claim(self.limits.wall_seconds)).receive,
        )
        status = _end_status(ending)
        if status == "error" and claim.status == "memory":
            status = "memory"
        return ExecutionResult(
            status=status,
            stdout=ending.stdout,
            stderr=ending.stderr,
            exit_code=ending.number if ending.cause == "exit" else None,
            signal=ending.number if ending.cause == "signal" else None,
            wall_seconds=ending.seconds,
            isolation=self.isolation,
        )

    async def call(
        self,
        program: str,
        function: str,
        inputs: Sequence[tuple[Any, ...]],
        wall_seconds: float | Sequence[float] | None = None,
        cpu_seconds: float | Sequence[float] = math.inf,
        value_bytes: int = FRAME_BYTES,
        stop: Callable[[int, Outcome], bool] | None = None,
    ) -> CallResult:
        """Loads ``program`` and calls ``function`` on each of ``inputs``, in one process.

        The program is a module named ``program``, so that ``if __name__ == "__main__"`` does not
        hold. Values come back as plain data; see `ocijax.sandbox.encoding` for what that is.

        Args:
          program: Python source.
          function: name that it defines.
          inputs: positional arguments, plain data.
          wall_seconds: limit of each input, or one for each; ``limits.wall_seconds`` where None.
          cpu_seconds: likewise, of the time that the process spends on a CPU: unlike the other it
            does not depend on what else the machine does. Whichever is reached first ends it.
          value_bytes: longest encoding of a value; of a larger one comes its `Digest`.
          stop: called with the index and outcome of each input, as they come; true ends the calls.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: an input is no plain data, or there is not one limit for each.
        """
        if wall_seconds is None:
            wall_seconds = self.limits.wall_seconds
        wall, cpu = (_for_each(inputs, seconds) for seconds in (wall_seconds, cpu_seconds))
        job = self._job(
            program,
            function=function,
            inputs=_encode_inputs(inputs),
            value_bytes=min(value_bytes, FRAME_BYTES),
        )
        answers = _Answers(list(map(Time, wall, cpu)), job["value_bytes"], stop)
        ending = await self._execute(
            job, stdin=b"", allowed=Time(self.limits.wall_seconds), receive=answers.receive
        )
        return answers.result(ending, self.isolation)

    def _job(
        self,
        program: str,
        function: str | None = None,
        inputs: Sequence[bytes] = (),
        value_bytes: int = FRAME_BYTES,
        files: dict[str, str | bytes] | None = None,
    ) -> dict[str, Any]:
        contents = {
            _inside(path): content.encode() if isinstance(content, str) else content
            for path, content in (files or {}).items()
        }
        limits = self.limits
        return {
            "program": program,
            "function": function,
            "inputs": list(inputs),
            "value_bytes": value_bytes,
            "files": contents,
            "isolation": self.isolation,
            "limits": (
                limits.memory_bytes,
                limits.cpu_seconds,
                limits.file_bytes,
                limits.processes,
            ),
            "visible": _interpreter(),
            "mounted": self._packages,
            "packages": ["/packages"] if self._packages else [],
            "environment": {"OMP_NUM_THREADS": "1"} if self._packages else {},
            "scratch_bytes": limits.file_bytes + sum(map(len, contents.values())),
        }

    async def _execute(self, job: dict[str, Any], **arguments) -> Ending:
        work = partial(self._execute_in_thread, job, arguments)
        return await interruptible(self._threads, work)

    def _execute_in_thread(
        self, job: dict[str, Any], arguments: dict[str, Any], cancelled: int
    ) -> Ending:
        arguments |= {"output_bytes": self.limits.output_bytes, "cancelled": cancelled}
        if self.isolation == "namespaces":
            return execute(self._launcher, job, **arguments)
        directory = tempfile.mkdtemp(prefix="sandbox-")
        try:
            for path, target in self._packages.items():
                place = Path(directory + target)
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(path)
            scratch = f"{directory}/scratch"
            os.mkdir(scratch, 0o700)
            packages = [directory + path for path in job["packages"]]
            return execute(
                self._launcher, job | {"scratch": scratch, "packages": packages}, **arguments
            )
        finally:
            _remove(directory)


class _Claim:
    """What a script's process says about its end; that wins it no time."""

    def __init__(self, wall_seconds: float):
        self.status = ""
        self._left = wall_seconds

    def receive(self, frame: bytes, passed: Time) -> Time:
        self.status = _outcome(frame, passed).status
        self._left -= passed.wall
        return Time(self._left)


class _Answers:
    """Collects the frames of a call as outcomes: of loading first, then of each input."""

    def __init__(self, allowed: Sequence[Time], value_bytes: int, stop):
        self._allowed = allowed
        self._value_bytes = value_bytes
        self._stop = stop
        self._load: Outcome | None = None
        self._outcomes: list[Outcome] = []

    def receive(self, frame: bytes, passed: Time) -> Time | None:
        outcome = _outcome(frame, passed, self._value_bytes)
        if self._load is None:
            self._load = outcome
            if outcome.status != "ok":
                return None
        else:
            self._outcomes.append(outcome)
            if self._stop is not None and self._stop(len(self._outcomes) - 1, outcome):
                return None
        reached = len(self._outcomes)
        return self._allowed[reached] if reached < len(self._allowed) else None

    def result(self, ending: Ending, isolation: str) -> CallResult:
        if ending.cause != "done":
            last = Outcome(_end_status(ending, "error"), None, _end_text(ending))
            if self._load is None:
                self._load = last
            else:
                self._outcomes.append(last)
        load = self._load or Outcome("killed", None, "cancelled")
        return CallResult(tuple(self._outcomes), load, ending.stdout, isolation)


def _outcome(frame: bytes, passed: Time, value_bytes: int = 0) -> Outcome:
    """Reads one frame, which may be anything: the candidate's process can write there.

    A value takes many times its encoding, so none longer than asked for is decoded.
    """
    try:
        status, content, plain = decode(frame)
        if status == "ok" and len(content) > max(value_bytes, LATE_BYTES):
            raise EncodingError("longer than it may be")
        if status not in _STATUSES or not isinstance(content, bytes if status == "ok" else str):
            raise EncodingError("no such answer")
        if status == "ok":
            return Outcome("ok", decode(content), "", passed.wall, passed.cpu, plain is True)
    except (ValueError, TypeError) as error:
        status, content = "error", f"unreadable answer ({error})"
    text = content[:_ERROR_CHARACTERS].encode("utf-8", "backslashreplace").decode()
    return Outcome(status, None, text, passed.wall, passed.cpu)


def _end_status(ending: Ending, success: Status = "ok") -> Status:
    if ending.cause == "exit":
        return "error" if ending.number else success
    if ending.cause == "signal":
        return "timeout" if ending.number == signal.SIGXCPU else "killed"
    return ending.cause if ending.cause in ("timeout", "output", "memory") else "error"


def _end_text(ending: Ending) -> str:
    if ending.cause == "exit":
        return f"the program ended its process with exit status {ending.number}"
    if ending.cause == "signal":
        if ending.number == signal.SIGXCPU:
            return "the program used up its CPU time"
        try:
            name = signal.Signals(ending.number).name
        except ValueError:
            name = str(ending.number)
        return f"the program's process was ended by signal {name}"
    return {
        "timeout": "the program ran out of time",
        "output": "the program printed too much",
        "memory": "the program and the processes it started used up their memory",
        "garbled": "the program wrote into the channel of its answers",
    }[ending.cause]


def _for_each(inputs: Sequence[Any], seconds: float | Sequence[float]) -> Sequence[float]:
    if isinstance(seconds, int | float):
        return [seconds] * len(inputs)
    if len(seconds) != len(inputs):
        raise InputError(f"{len(seconds)} time limits for {len(inputs)} inputs")
    return seconds


def _encode_inputs(inputs: Sequence[tuple[Any, ...]]) -> list[bytes]:
    encoded = []
    for index, arguments in enumerate(inputs):
        data = encode(tuple(arguments))
        if b"O" in data and _has_opaque(decode(data)):
            raise InputError(f"input {index} holds what is no plain data: {arguments!r:.200}")
        encoded.append(data)
    return encoded


def _has_opaque(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_opaque, value.keys())) or any(map(_has_opaque, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_opaque, value))
    return isinstance(value, Opaque)


def _interpreter() -> tuple[str, ...]:
    """The directories without which the interpreter does not run."""
    executable = os.path.dirname(os.path.realpath(sys.executable))
    prefixes = {os.path.realpath(path) for path in (sys.base_prefix, sys.base_exec_prefix)}
    paths = (
        prefixes
        if any(executable.startswith(path) for path in prefixes)
        else {*prefixes, executable}
    )
    return tuple(sorted(path for path in paths if path not in ("/", "/usr")))


def _places(name: str) -> list[tuple[str, str]]:
    """Where package ``name`` lies here, and where programs find it."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        raise InputError(f"package {name!r} is not installed: install it, or leave it out")
    source = Path(spec.origin)
    if spec.submodule_search_locations:
        source = source.parent
    libraries = source.with_name(f"{name}.libs")  # shared ones that a wheel brings along
    return [
        (os.path.realpath(path), f"/packages/{path.name}")
        for path in (source, libraries)
        if path.exists()
    ]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise InputError(f"file {path!r}: give a path inside the working directory")
    return str(PurePosixPath(path))


def _remove(directory: str) -> None:
    """Removes ``directory``, also what is too deep for Python or has no permission bits left."""
    try:
        shutil.rmtree(directory)
    except (OSError, RecursionError):
        subprocess.run(["chmod", "-R", "u+rwx", directory], capture_output=True)
        subprocess.run(["rm", "-rf", directory], check=True, capture_output=True)
