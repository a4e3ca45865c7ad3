"""Loads and runs a program in the process that was confined for it."""

import ast
import linecache
import os
import sys
import traceback
from pickle import loads
from types import CodeType, ModuleType, TracebackType
from typing import Any

from answer import ERROR, LIKE, MEMORY, VALUE
from encoding import ANSWER_BYTES, LATE_BYTES, PLAIN_TYPES, decode, encode, frame, read_frame

FILE = "<program>"
_MESSAGE = 4096
_TEXT = 12_000
_FRAMES = 10

# To print half of a surrogate pair is no error of the program: it arrives escaped.
sys.stdout.reconfigure(errors="backslashreplace")

_write = os.write  # as it is before any program can have changed it
_sources: set[str] = set()


def run(channel: int, program: str) -> int:
    """Runs ``program`` as a script; returns its exit status, its traceback on standard error."""
    try:
        exec(compiled(program, FILE), module("__main__").__dict__)
        return 0
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException as error:
        send(channel, _kind(error), "")
        print(describe(error), file=sys.stderr)
        return 1


def call(channel: int, program: str, function: str, inputs: list[bytes], value_bytes: int) -> None:
    """Calls ``function`` on each input; writes a frame once loaded and one for each input.

    What a frame holds says `answer`.
    """
    name, _, method = function.partition("().")
    try:
        loaded = module("program")
        exec(compiled(program, FILE), loaded.__dict__)
        entry = getattr(loaded, name)
        if not callable(entry):
            raise TypeError(f"{name} is a {type(entry).__name__}, not a function")
    except AttributeError as error:
        if error.__traceback__.tb_next is None:
            send(channel, ERROR, f"NameError: the program does not define {name}")
        else:
            send(channel, _kind(error), describe(error))
        return
    except BaseException as error:
        send(channel, _kind(error), describe(error))
        return
    sent = send(channel, VALUE, encode(None))
    for data in inputs:
        try:
            limit = value_bytes if sent < ANSWER_BYTES else LATE_BYTES
            called = getattr(entry(), method) if method else entry
            value = called(*loads(data))
            answer = (VALUE if type(value) in PLAIN_TYPES else LIKE, encode(value, limit))
        except BaseException as error:
            answer = (_kind(error), describe(error))
        value = None  # whose memory the next call may need
        sent += send(channel, *answer)


def session(channel: int) -> None:
    """Executes the cells that come on standard input, in one namespace; answers each with a frame.

    A cell is a frame of its number and its source. To the program standard input is empty.
    """
    cells = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    namespace = module("__main__").__dict__
    process = os.getpid()
    while cell := read_frame(cells):
        number, source = decode(cell)
        answer = _execute(source, f"<cell {number}>", namespace)
        if os.getpid() != process:
            os._exit(0)  # a child that the cell forked and let run on
        send(channel, *answer)


def _execute(source: str, file: str, namespace: dict[str, Any]) -> tuple[bytes, bytes | str]:
    """Executes a cell as notebooks do: the value of a last expression is shown."""
    try:
        keep_lines(source, file)
        body = ast.parse(source, file).body
        last = [body.pop()] if body and isinstance(body[-1], ast.Expr) else []
        parts = [compiled(ast.Module(body, []), file)]
        parts.append(compiled(ast.Interactive(last), file, "single"))
        for part in parts:
            exec(part, namespace)
        return VALUE, encode(None)
    except BaseException as error:
        return _kind(error), describe(error)


def module(name: str) -> ModuleType:
    """Returns a new module, which can be imported by its name."""
    sys.modules[name] = made = ModuleType(name)
    return made


def compiled(source: str | ast.AST, file: str, mode: str = "exec") -> CodeType:
    """Compiles ``source``, whose lines tracebacks are to show."""
    if isinstance(source, str):
        keep_lines(source, file)
    return compile(source, file, mode, dont_inherit=True)


def keep_lines(source: str, file: str) -> None:
    """Has tracebacks show the lines of ``source`` as those of ``file``."""
    _sources.add(file)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)


def _kind(error: BaseException) -> bytes:
    return MEMORY if isinstance(error, MemoryError) else ERROR


def describe(error: BaseException) -> str:
    """Returns the traceback of ``error`` as Python prints it, with the program's frames only."""
    try:
        lines = traceback.format_list(_program_frames(error.__traceback__))
        if len(lines) > 2 * _FRAMES:
            skipped = len(lines) - 2 * _FRAMES
            lines[_FRAMES:-_FRAMES] = [f"  ... {skipped} more calls ...\n"]
        if lines:
            lines.insert(0, "Traceback (most recent call last):\n")
        message = "".join(traceback.format_exception_only(error)).rstrip("\n")
    except BaseException:
        lines, message = [], type(error).__name__
    text = "".join(lines) + cut(message, _MESSAGE)
    return cut(text.encode("utf-8", "backslashreplace").decode(), _TEXT)


def cut(text: str, limit: int) -> str:
    """Returns ``text`` without its middle where it is longer than ``limit``."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"


def _program_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    frames = [
        (call, line)
        for call, line in traceback.walk_tb(trace)
        if call.f_code.co_filename in _sources
    ]
    return traceback.StackSummary.extract(iter(frames), lookup_lines=True)


def send(channel: int, kind: bytes, content: bytes | str) -> int:
    """Writes an answer, after all that was printed; returns its length."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:
            setattr(sys, name, None)  # closed or replaced by the program: nothing to keep
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    data = memoryview(frame(kind + content))
    while data:
        data = data[_write(channel, data) :]
    return len(content)
