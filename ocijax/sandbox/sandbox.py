"""Runs programs that nobody has read, in processes that can do nothing but compute."""

import contextlib
import importlib.util
import math
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ocijax.errors import InputError
from ocijax.sandbox.arguments import pickled
from ocijax.sandbox.encoding import FRAME_BYTES
from ocijax.sandbox.interruption import interruptible
from ocijax.sandbox.languages import PYTHON, Language, Toolchain, find
from ocijax.sandbox.pool import Pool
from ocijax.sandbox.process import Ending, Run, Time, execute, started
from ocijax.sandbox.report import GARBLED, end_status, end_text, outcome
from ocijax.sandbox.result import (
    CallResult,
    ExecutionResult,
    Limits,
    Outcome,
    Stage,
    Status,
    TestResult,
)
from ocijax.sandbox.seccomp import deny_list

LEVELS = {
    "namespaces": "user, pid, mount, network, IPC, UTS and cgroup namespaces, a read-only root, no"
    " capabilities, seccomp, rlimits, Landlock and cgroups where the host has them",
    "limits": "for hosts that forbid those: no capabilities, rlimits, cgroups where the host has"
    " them; programs can read what this user can",
}
"""The levels of isolation, the strongest first, and the layers that each consists of."""

_VERDICT_BYTES = 3 << 20
_PACKAGES = "/packages"
_TO_LEAVE = Time(0.01)  # what a process that has answered everything gets to end by itself


def describe_levels() -> str:
    """Returns what the help of a program says of the levels."""
    levels = "; ".join(f"{name}: {layers}" for name, layers in LEVELS.items())
    return f"Level of the sandbox. {levels}."


class Sandbox:
    """Runs programs, each in a process of its own, at most `concurrency` at a time.

    The process has no environment variable, no open file of ours, its own session, limits of the
    kernel on time, memory, files and processes, and an empty directory to work in, which is gone
    afterwards. At the level ``namespaces`` it also sees no other process, no network and of the
    file system only the system's libraries and the interpreter, or its language's tools, all
    read-only; it is an unprivileged user without capabilities, and is denied the system calls that
    no program needs. Landlock and control groups are added where the host has them: results name
    all layers. The level ``limits`` takes away none of these: a program can read what we can, and
    even kill us.

    May be shared by threads and event loops; ``asyncio.run(sandbox.run(...))`` is fine.

    Args:
      limits: of every execution.
      isolation: ``namespaces``, or ``limits`` for hosts that forbid those.
      packages: names of installed packages that programs may import besides the standard library;
        those that they depend on are to be named too.

    Attributes:
      concurrency: one more than there are cores, so that none idles while we turn to its next.

    Raises:
      InputError: unknown isolation, or a package that is not installed.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008  frozen
        isolation: Literal["namespaces", "limits"] = "namespaces",
        packages: Iterable[str] = (),
    ):
        if isolation not in LEVELS:
            raise InputError(f"isolation {isolation!r}: choose {' or '.join(LEVELS)}")
        self.limits = limits
        self.isolation = isolation
        self.packages = tuple(packages)
        self._packages = dict(place for name in self.packages for place in _places(name))
        self._pools: dict[str, Pool] = {}
        self.concurrency = 1 + len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(self.concurrency, "sandbox")

    async def run(
        self,
        program: str,
        stdin: str = "",
        files: dict[str, str | bytes] | None = None,
        language: str = PYTHON,
        wall_seconds: float | None = None,
        cpu_seconds: float = math.inf,
        output_bytes: int | None = None,
    ) -> ExecutionResult:
        """Runs ``program`` as a script, to its end or its limits.

        Programs of other languages than Python are compiled first where they need it, confined
        likewise. Where a runtime manages its memory itself (Go, Java, JavaScript) the limit is on
        what is resident, and its own threads come on top of the limit of processes.

        Args:
          program: source text.
          stdin: what it can read.
          files: contents by relative path, there when it starts.
          language: one of `ocijax.sandbox.languages.available`.
          wall_seconds: limit of this run; ``limits.wall_seconds`` where None.
          cpu_seconds: likewise, of the time on a CPU, never above ``limits.cpu_seconds``; of other
            languages than Python, of each of its processes and in whole seconds.
          output_bytes: kept of its output; ``limits.output_bytes`` where None.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: a file's path leads out of the working directory or is that of the program,
            or the language's tools are not on this host.
        """
        limits = replace(
            self.limits,
            wall_seconds=self.limits.wall_seconds if wall_seconds is None else wall_seconds,
            cpu_seconds=min(self.limits.cpu_seconds, cpu_seconds),
            output_bytes=self.limits.output_bytes if output_bytes is None else output_bytes,
        )
        if language == PYTHON:
            pool = self._pool()
            job = self._job("run", files, program=program)
            script = _Script(limits)
        else:
            toolchain = find(language)
            pool = self._pool(toolchain)
            job = self._command_job(toolchain, program, files or {}, limits)
            script = _Script(limits, toolchain.language)
        ending = await self._execute(
            pool,
            job,
            stdin=stdin.encode("utf-8", "surrogatepass"),
            output_bytes=limits.output_bytes,
            allowed=script.allowed,
            receive=script.receive,
        )
        return ExecutionResult(
            status=script.status(ending),
            stdout=ending.stdout,
            stderr=end_text(ending) if ending.cause == "oversize" else ending.stderr,
            exit_code=ending.number if ending.cause == "exit" else None,
            signal=ending.number if ending.cause == "signal" else None,
            wall_seconds=ending.seconds - script.compile_seconds,
            isolation=self.isolation,
            layers=ending.layers,
            cpu_seconds=ending.cpu_seconds,
            peak_bytes=ending.peak_bytes,
            stage=script.stage,
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
        keep: bool = True,
    ) -> CallResult:
        """Loads ``program`` and calls ``function`` on each of ``inputs``, in one process.

        The program is a module named ``program``, so that ``if __name__ == "__main__"`` does not
        hold. Values come back as plain data; see `ocijax.sandbox.encoding` for what that is.

        Args:
          program: Python source.
          function: name that it defines; or ``Name().method``, of a new instance for each call.
          inputs: positional arguments, plain data.
          wall_seconds: limit of each input, or one for each; ``limits.wall_seconds`` where None.
          cpu_seconds: likewise, of the time that the process spends on a CPU: unlike the other it
            does not depend on what else the machine does. Whichever is reached first ends it;
            where there is such a limit, waiting for a CPU does not count by the clock either.
          value_bytes: longest encoding of a value; of a larger one comes its `Digest`.
          stop: called with the index and outcome of each input, as they come; true ends the calls.
          keep: whether of an input that succeeded and that ``stop`` let pass, the result holds more
            than its status; values together may be large.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: an input is no plain data, or there is not one limit for each.
        """
        if wall_seconds is None:
            wall_seconds = self.limits.wall_seconds
        wall, cpu = (_for_each(inputs, seconds) for seconds in (wall_seconds, cpu_seconds))
        value_bytes = min(value_bytes, FRAME_BYTES)
        job = self._job(
            "call",
            program=program,
            function=function,
            inputs=pickled(inputs),
            value_bytes=value_bytes,
        )
        answers = _Answers(list(map(Time, wall, cpu)), stop, keep)
        ending = await self._execute(
            self._pool(),
            job,
            allowed=Time(self.limits.wall_seconds, self.limits.cpu_seconds),
            frame_bytes=value_bytes,
            receive=answers.receive,
        )
        return answers.result(ending, self.isolation)

    async def test(
        self,
        program: str,
        tests: str,
        entry_point: str | None = None,
        files: dict[str, str | bytes] | None = None,
        wall_seconds: float | None = None,
        cpu_seconds: float = math.inf,
    ) -> TestResult:
        """Runs ``tests``, which are Python themselves, around ``program`` in its own process.

        For tests that no table of inputs and outputs can hold, and with a weaker promise than
        `call`, which compares outside of that process and covers HumanEval(+) and MBPP(+) wholly:
        prefer that wherever it will do. Here a program does not pass by ending early, by what it
        prints or writes into its descriptors, or by changing built-in functions or `unittest`.
        But values compare as they define it themselves (an ``__eq__`` that always holds passes),
        and a program that sets out to can find the tests and forge what they say.

        The program is a module named ``program``. The tests see its names as if they stood below
        it, but of those that are built-in ones only ``entry_point``. Tests are the methods of the
        ``unittest.TestCase`` classes that they define, a function ``check`` that is given the
        function named ``entry_point``, and every ``assert`` reached.

        Args:
          program: Python source.
          tests: Python source.
          entry_point: name of the function under test.
          files: contents by relative path, there when it starts.
          wall_seconds: limit of loading and all tests; ``limits.wall_seconds`` where None.
          cpu_seconds: likewise, of the time that the process spends on a CPU.

        Raises:
          SandboxError: the host cannot isolate it.
          InputError: a file's path leads out of the working directory.
        """
        token = secrets.token_bytes(16)
        job = self._job(
            "test", files, program=program, tests=tests, entry_point=entry_point, token=token
        )
        verdict = _Verdict(token)
        if wall_seconds is None:
            wall_seconds = self.limits.wall_seconds
        ending = await self._execute(
            self._pool(),
            job,
            allowed=Time(wall_seconds, cpu_seconds),
            frame_bytes=_VERDICT_BYTES,
            receive=verdict.receive,
        )
        return verdict.result(ending, self.isolation)

    def _job(
        self, entry: str, files: dict[str, str | bytes] | None = None, **arguments
    ) -> dict[str, Any]:
        contents = {
            _inside(path): content.encode() if isinstance(content, str) else content
            for path, content in (files or {}).items()
        }
        return {
            "entry": entry,
            "arguments": arguments,
            "files": contents,
            "scratch_bytes": self.limits.file_bytes + sum(map(len, contents.values())),
            "command": None,
        }

    def _command_job(
        self, toolchain: Toolchain, program: str, files: dict[str, str | bytes], limits: Limits
    ) -> dict[str, Any]:
        source = toolchain.source(program)
        if source in map(_inside, files):
            raise InputError(f"file {source!r}: the program itself is called so: rename the file")
        job = self._job("", files=files | {source: program.encode("utf-8", "surrogatepass")})
        return job | {
            "command": toolchain.command(program, limits),
            "scratch_bytes": job["scratch_bytes"] + toolchain.language.build_bytes,
        }

    def _pool(self, toolchain: Toolchain | None = None) -> Pool:
        """The launchers of programs in Python, or in the language of ``toolchain``."""
        name = toolchain.language.name if toolchain else PYTHON
        return self._pools.get(name) or self._pools.setdefault(name, self._new_pool(toolchain))

    def _new_pool(self, toolchain: Toolchain | None) -> Pool:
        limits, apart = self.limits, self.isolation == "namespaces"
        paths = toolchain.visible if toolchain else _interpreter()
        packages = {} if toolchain else self._packages
        processes = toolchain.processes(limits) if toolchain else limits.processes
        build_bytes = toolchain.language.build_bytes if toolchain else 0
        settings = {
            "isolation": self.isolation,
            "shown": {path: path for path in paths} | packages,
            "commands": toolchain is not None,
            "packages": {
                name: _PACKAGES if apart else os.path.dirname(path)
                for path, place in packages.items()
                if (name := Path(place).stem) in self.packages
            },
            "environment": {"OMP_NUM_THREADS": "1"} if packages else {},
            "memory_bytes": limits.memory_bytes,
            "use_limits": (limits.cpu_seconds, limits.file_bytes, limits.processes),
            "scratch_bytes": limits.file_bytes + build_bytes,
            "filter": deny_list() if apart else b"",
            "landlock": 0,
            "others": 0,
        }
        return Pool(settings, limits.memory_bytes + limits.file_bytes + build_bytes, processes)

    async def _execute(self, pool: Pool, job: dict[str, Any], **arguments) -> Ending:
        work = partial(self._execute_in_thread, pool, job, arguments)
        return await interruptible(self._threads, work)

    def _execute_in_thread(
        self, pool: Pool, job: dict[str, Any], arguments: dict[str, Any], cancelled: int
    ) -> Ending:
        kept = self.limits.output_bytes
        arguments = {"stdin": b"", "frame_bytes": 0, "output_bytes": kept} | arguments
        return execute(pool, job, cancelled=cancelled, **arguments)

    @contextlib.contextmanager
    def _session(self, receive: Callable[[bytes, Time], None]) -> Iterator[Run]:
        """A process that executes the cells it is sent, each answer going to ``receive``."""
        with started(
            self._pool(),
            self._job("session"),
            output_bytes=self.limits.output_bytes,
            frame_bytes=0,
            receive=receive,
        ) as run:
            yield run


class _Script:
    """What the process of a script says about itself, which wins it no time but the compiler's.

    Attributes:
      stage: that it is in.
      allowed: time for the first stage.
      compile_seconds: that compiling took, once it is over.
    """

    def __init__(self, limits: Limits, language: Language | None = None):
        self.stage: Stage = "compile" if language and language.compile else "run"
        self.allowed = Time(limits.wall_seconds, limits.cpu_seconds)
        if self.stage == "compile":
            self.allowed = Time(limits.compile_seconds)
        self.compile_seconds = 0.0
        self._left = limits.wall_seconds
        self._exhausted = language.exhausted if language else ()
        self._claim = ""

    def receive(self, frame: bytes, passed: Time) -> Time:
        if self.stage == "compile":
            self.stage = "run"
            self.compile_seconds = passed.wall
        else:
            self._claim = outcome(frame, passed).status
            self._left -= passed.wall
        return Time(self._left)

    def status(self, ending: Ending) -> Status:
        status = end_status(ending)
        if status in ("error", "killed") and any(map(ending.stderr.__contains__, self._exhausted)):
            return "memory"
        return "memory" if status == "error" and self._claim == "memory" else status


_SEEN = Outcome("ok")


class _Answers:
    """Collects the frames of a call as outcomes: of loading first, then of each input."""

    def __init__(self, allowed: Sequence[Time], stop, keep: bool):
        self._allowed = allowed
        self._stop = stop
        self._keep = keep or stop is None
        self._load: Outcome | None = None
        self._outcomes: list[Outcome] = []

    def receive(self, frame: bytes, passed: Time) -> Time | None:
        if self._complete():
            return None
        answer = outcome(frame, passed)
        if self._load is None:
            self._load = answer
            if answer.status != "ok":
                return None
        else:
            stopped = self._stop is not None and self._stop(len(self._outcomes), answer)
            seen = not (self._keep or stopped) and answer.status == "ok"
            self._outcomes.append(_SEEN if seen else answer)
            if stopped:
                return None
        return _TO_LEAVE if self._complete() else self._allowed[len(self._outcomes)]

    def _complete(self) -> bool:
        return self._load is not None and len(self._outcomes) == len(self._allowed)

    def result(self, ending: Ending, isolation: str) -> CallResult:
        if ending.cause != "done" and not self._complete():
            last = Outcome(end_status(ending, "error"), None, end_text(ending))
            if self._load is None:
                self._load = last
            else:
                self._outcomes.append(last)
        load = self._load or Outcome("killed", None, "cancelled")
        outcomes = tuple(self._outcomes)
        return CallResult(outcomes, load, ending.stdout, isolation, ending.layers)


class _Verdict:
    """What the tests in a program's process said; that they all were run, the token shows."""

    def __init__(self, token: bytes):
        self._token = token
        self._failures: tuple[str, ...] | None = None

    def receive(self, frame: bytes, passed: Time) -> None:
        self._failures = (GARBLED,)
        match outcome(frame, passed).value:
            case (token, [*failures]) if token == self._token:
                self._failures = tuple(map(str, failures))

    def result(self, ending: Ending, isolation: str) -> TestResult:
        status, failures = "error", self._failures
        if failures is None:
            status, failures = end_status(ending, "error"), (end_text(ending),)
        elif not failures:
            status = "ok"
        return TestResult(
            status=status,
            failures=failures,
            stdout=ending.stdout,
            stderr=ending.stderr,
            wall_seconds=ending.seconds,
            isolation=isolation,
            layers=ending.layers,
        )


def _for_each(inputs: Sequence[Any], seconds: float | Sequence[float]) -> Sequence[float]:
    if isinstance(seconds, int | float):
        return [seconds] * len(inputs)
    if len(seconds) != len(inputs):
        raise InputError(f"{len(seconds)} time limits for {len(inputs)} inputs")
    return seconds


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
        (os.path.realpath(path), f"{_PACKAGES}/{path.name}")
        for path in (source, libraries)
        if path.exists()
    ]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise InputError(f"file {path!r}: give a path inside the working directory")
    return str(PurePosixPath(path))
