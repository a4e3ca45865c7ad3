"""Says how programs of other languages are compiled and run, and finds the tools on this host.

A language is an entry of `LANGUAGES`, which is data: a further one needs no code. In its commands
and environment stand, in braces, a tool (its path), ``tool.root`` (the directory it is installed
in), ``heap`` (MiB that a runtime may manage) and what `Language.names` gives.
"""

import contextlib
import functools
import glob
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ocijax.errors import InputError
from ocijax.sandbox import java
from ocijax.sandbox.result import Limits

PYTHON = "python"
"""The language that needs no tools: `Sandbox` itself is written in it."""

_UNBOUNDED = 1 << 62
_COMPILER_PROCESSES = 256
_HEAP_SHARE = 0.75
_PATH = "/usr/local/bin:/usr/bin:/bin"
_ALTERNATIVES = "/etc/alternatives"  # links through which a system's tools are named
_PLACES = ("~/.cargo/bin", "/usr/local/go/bin")  # where tools lie that PATH does not name
_FIND_SECONDS = 60.0


@dataclass(frozen=True)
class Step:
    """A command that compiles or runs a program, from the working directory.

    Attributes:
      command: its words.
      reserves: whether it takes far more address space than it uses, as garbage collectors and
        large libraries do: then its memory is limited by what is resident alone.
      threads: that it needs for itself, besides those of the program.
    """

    command: tuple[str, ...]
    reserves: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Language:
    """How programs of one language become processes.

    Attributes:
      name: as `Sandbox.run` takes it.
      source: name of the program's file in the working directory.
      tools: executables by name, each with a path that is there in the root of its installation;
        with ``""`` the executable alone is all that is needed.
      run: the program.
      compile: what makes it; what this prints is shown where it fails.
      build_bytes: that the compiler may write, besides what the program may.
      visible: patterns of host paths that the tools read besides their own directories.
      environment: variables, besides ``PATH``, ``HOME`` and ``TMPDIR``.
      exhausted: what the runtime says on stderr when it ends for want of memory.
      names: what source and commands call by names taken from the program's text.
    """

    name: str
    source: str
    tools: dict[str, str]
    run: Step
    compile: Step | None = None
    build_bytes: int = 0
    visible: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    exhausted: tuple[str, ...] = ()
    names: Callable[[str], dict[str, str]] = lambda program: {}


_JVM = ("-Xmx{heap}m", "-XX:+UseSerialGC", "-XX:-UsePerfData")

LANGUAGES = {
    language.name: language
    for language in (
        Language(
            name="bash",
            source="main.sh",
            tools={"bash": ""},
            run=Step(("{bash}", "main.sh")),
            exhausted=("cannot allocate",),
        ),
        Language(
            name="c++",
            source="main.cpp",
            tools={"g++": "lib/gcc"},
            compile=Step(("{g++}", "-std=gnu++20", "-O2", "-w", "-o", "main", "main.cpp")),
            build_bytes=64 << 20,
            run=Step(("./main",)),
            exhausted=("std::bad_alloc",),
        ),
        Language(
            name="go",
            source="main.go",
            tools={"go": "pkg/tool"},
            compile=Step(("{go}", "build", "-o", "main", "main.go"), reserves=True),
            build_bytes=512 << 20,
            environment=(
                ("GOROOT", "{go.root}"),
                ("GOPROXY", "off"),
                ("GOTOOLCHAIN", "local"),
                ("CGO_ENABLED", "0"),
            ),
            run=Step(("./main",), reserves=True, threads=16),
            exhausted=("runtime: out of memory", "cannot allocate memory"),
        ),
        Language(
            name="java",
            source="{unit}.java",
            tools={"javac": "lib/modules"},
            compile=Step(
                (
                    "{javac}",
                    *(f"-J{option}" for option in (*_JVM, "-XX:TieredStopAtLevel=1")),
                    *("-encoding", "UTF-8", "-nowarn", "-proc:none", "-d", ".", "{unit}.java"),
                ),
                reserves=True,
            ),
            build_bytes=64 << 20,
            visible=("/etc/java-*",),
            environment=(("LD_LIBRARY_PATH", "{javac.root}/lib"),),
            run=Step(
                ("{javac.root}/bin/java", *_JVM, "-cp", ".", "{main}"), reserves=True, threads=24
            ),
            exhausted=("java.lang.OutOfMemoryError",),
            names=java.names,
        ),
        Language(
            name="javascript",
            source="main.js",
            tools={"node": ""},
            run=Step(
                ("{node}", "--max-old-space-size={heap}", "main.js"), reserves=True, threads=16
            ),
            exhausted=("JavaScript heap out of memory",),
        ),
        Language(
            name="rust",
            source="main.rs",
            tools={"rustc": "lib/rustlib", "gcc": "lib/gcc"},
            compile=Step(
                (
                    *("{rustc}", "--edition=2021", "-O", "-Awarnings", "-Clinker={gcc}"),
                    *("-o", "main", "main.rs"),
                ),
                reserves=True,
            ),
            build_bytes=128 << 20,
            environment=(("LD_LIBRARY_PATH", "{rustc.root}/lib"),),
            run=Step(("./main",)),
            exhausted=("memory allocation of",),
        ),
    )
}


@dataclass(frozen=True)
class Tool:
    """An executable on this host.

    Attributes:
      path: of the executable itself, no link.
      root: directory that its installation lies in.
    """

    path: str
    root: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Toolchain:
    """A language whose tools are on this host.

    Attributes:
      language: which.
      tools: by name.
      visible: host paths that have to be seen when they run.
    """

    language: Language
    tools: dict[str, Tool]
    visible: tuple[str, ...]

    def source(self, program: str) -> str:
        """Returns the name that the file of ``program`` must have."""
        return self.language.source.format_map(self.language.names(program))

    def processes(self, limits: Limits) -> int:
        """Returns how many processes and threads there may be while it compiles or runs."""
        return limits.processes + _COMPILER_PROCESSES

    def command(self, program: str, limits: Limits) -> dict[str, Any]:
        """Returns what `command.py` is to compile and run ``program`` with, as plain data."""
        words = {**self.tools, "heap": int(limits.memory_bytes * _HEAP_SHARE) >> 20}
        words |= self.language.names(program)
        directories = {os.path.dirname(tool.path): None for tool in self.tools.values()}
        environment = {"PATH": ":".join((*directories, _PATH)), "LC_ALL": "C.UTF-8"}
        for name, value in self.language.environment:
            environment[name] = value.format_map(words)
        compiling = Limits(
            cpu_seconds=limits.compile_seconds * (os.cpu_count() or 1),  # wall-clock time decides
            memory_bytes=limits.memory_bytes,
            file_bytes=limits.file_bytes + self.language.build_bytes,
            processes=self.processes(limits),
        )
        return {
            "environment": environment,
            "compile": self.language.compile and _step(self.language.compile, words, compiling),
            "run": _step(self.language.run, words, limits),
        }


def _step(step: Step, words: dict[str, Any], limits: Limits) -> dict[str, Any]:
    return {
        "command": [word.format_map(words) for word in step.command],
        "limits": (
            _UNBOUNDED if step.reserves else limits.memory_bytes,
            limits.cpu_seconds,
            limits.file_bytes,
            limits.processes + step.threads,
        ),
    }


@functools.cache
def find(name: str) -> Toolchain:
    """Returns the tools of language ``name``, looked for once.

    Raises:
      InputError: there is no such language here, or its tools are not to be found.
    """
    if name not in LANGUAGES:
        raise InputError(f"language {name!r}: choose from {', '.join((PYTHON, *LANGUAGES))}")
    language = LANGUAGES[name]
    tools = {executable: _find_tool(language, executable) for executable in language.tools}
    shown = [tool.root if language.tools[key] else tool.path for key, tool in tools.items()]
    for pattern in (*language.visible, _ALTERNATIVES):
        shown += sorted(glob.glob(pattern))
    visible = tuple(dict.fromkeys(path for path in shown if not f"{path}/".startswith("/usr/")))
    return Toolchain(language, tools, visible)


def title(name: str) -> str:
    """Returns how the language ``name`` is written in a text."""
    return "JavaScript" if name == "javascript" else name.capitalize()


def available() -> tuple[str, ...]:
    """Returns the names of the languages that `Sandbox.run` takes on this host."""
    found = [PYTHON]
    for name in LANGUAGES:
        with contextlib.suppress(InputError):
            find(name)
            found.append(name)
    return tuple(found)


def _find_tool(language: Language, name: str) -> Tool:
    search = [os.environ.get("PATH", os.defpath), *map(os.path.expanduser, _PLACES)]
    link = shutil.which(name, path=os.pathsep.join(search))
    if link is None:
        raise InputError(
            f"language {language.name}: no {name} on this host: install it, or put its directory"
            " into PATH"
        )
    path = os.path.realpath(link)
    if os.path.basename(path) == "rustup":  # it stands for the tools of the toolchain in use
        path = f"{_output(link, '--print', 'sysroot')}/bin/{name}"
    tool = Tool(path, os.path.dirname(os.path.dirname(path)))
    part = language.tools[name]
    home = os.path.expanduser("~")
    if part and (
        not os.path.exists(f"{tool.root}/{part}")
        or f"{home}/".startswith(f"{tool.root.rstrip('/')}/")  # never to be shown
    ):
        raise InputError(
            f"language {language.name}: {link} stands for {path}, which is in no installation of"
            f" its own (with {part}): put the directory of {name} itself first in PATH"
        )
    return tool


def _output(*words: str) -> str:
    """What a tool of this host prints; nothing where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd="/", timeout=_FIND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
