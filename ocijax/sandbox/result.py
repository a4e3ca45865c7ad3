"""What the sandbox allows a program, and what it says happened."""

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "error", "timeout", "memory", "output", "killed", "refused"]

Stage = Literal["compile", "run"]


@dataclass(frozen=True)
class Limits:
    """Limits of one execution; sizes in bytes, times in seconds.

    Attributes:
      wall_seconds: of a `Sandbox.run`, or of each input of a `Sandbox.call`.
      cpu_seconds: of the whole process.
      memory_bytes: address space of each process, and resident memory of all together.
      file_bytes: of one file written; in namespaces, of all together.
      processes: processes and threads of the candidate.
      output_bytes: kept of stdout, and of stderr: head and tail. A program that prints 1024 times
        as much is stopped.
      compile_seconds: wall-clock time of compiling, for languages that need it; compilers have the
        same memory as programs, and more files and processes.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 60.0
    memory_bytes: int = 4 << 30
    file_bytes: int = 64 << 20
    processes: int = 64
    output_bytes: int = 64 << 10
    compile_seconds: float = 30.0


@dataclass(frozen=True)
class ExecutionResult:
    """One program, run to its end or stopped.

    Attributes:
      status: ``ok`` (exit 0), ``error`` (uncaught exception or other exit status), ``timeout``,
        ``memory``, ``output`` (printed too much), ``killed`` (by a signal), ``refused`` (never run:
        the program, its input and its files do not fit into its memory). That the host does not
        isolate it is no result but a `SandboxError`: it says nothing about the program.
      stdout: head and tail of what was printed, undecodable bytes escaped.
      stderr: likewise; the traceback is here.
      exit_code: of the process, ``None`` where a signal ended it, or where it is a session's and
        goes on.
      signal: number of that signal, or ``None``.
      wall_seconds: from start to end of the stage.
      isolation: the level in force, ``namespaces`` or ``limits``.
      layers: names of what kept the program in, of those that the level has on this host.
      cpu_seconds: of all its processes; in a session, of the cell.
      peak_bytes: the most memory that one of them held; 0 while a session's process goes on.
      restarted: whether all that earlier cells of the session had made was lost before this one.
      stage: that it ended in; where compiling failed, ``stderr`` is what the compiler said.
    """

    status: Status
    stdout: str
    stderr: str
    exit_code: int | None
    signal: int | None
    wall_seconds: float
    isolation: str
    layers: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    restarted: bool = False
    stage: Stage = "run"


@dataclass(frozen=True)
class Outcome:
    """What the function gave for one input.

    Attributes:
      status: ``ok``, or why there is no value.
      value: plain data, decoded in the parent; never an object of the candidate's making.
      plain: whether the value was of a built-in type itself, no subclass or other number.
      error: exception type, message and the candidate's part of the traceback.
      wall_seconds: of this input alone.
      cpu_seconds: likewise, those of the process.
    """

    status: Status
    value: Any = None
    error: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    plain: bool = True


@dataclass(frozen=True)
class CallResult:
    """A function called on many inputs in one process.

    Attributes:
      outcomes: one for each input reached, in order; fewer than the inputs where one ended it.
      load: how loading the program went, before the first call; not ``ok``: no outcomes.
      stdout: head and tail of what was printed.
      isolation: as in `ExecutionResult`.
      layers: likewise.
    """

    outcomes: tuple[Outcome, ...]
    load: Outcome
    stdout: str
    isolation: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestResult:
    """Tests run around a program in the program's own process.

    Attributes:
      status: ``ok`` where every test was run, at least one, and none failed; else why not.
      failures: of each test that failed, what it said; or why the tests did not come to their end.
      stdout: head and tail of what was printed.
      stderr: likewise.
      wall_seconds: from start to end.
      isolation: as in `ExecutionResult`.
      layers: likewise.
      promise: what a pass is worth: ``in-process`` says that a program could have forged it.
    """

    status: Status
    failures: tuple[str, ...]
    stdout: str
    stderr: str
    wall_seconds: float
    isolation: str
    layers: tuple[str, ...] = ()
    promise: Literal["in-process"] = "in-process"

    @property
    def passed(self) -> bool:
        """Whether every test was run, at least one, and none failed."""
        return self.status == "ok"
