"""Loads and runs a program in the process that was confined for it."""

import linecache
import os
import sys
import traceback
from types import ModuleType, TracebackType
from typing import Any

from encoding import ANSWER_BYTES, LATE_BYTES, PLAIN_TYPES, decode, encode

FILE = "<program>"
_MESSAGE = 4096
_TEXT = 12_000
_FRAMES = 10

# To print half of a surrogate pair is no error of the program: it arrives escaped.
sys.stdout.reconfigure(errors="backslashreplace")


def run(program: str, channel: int) -> int:
    """Runs ``program`` as a script; returns its exit status, its traceback on standard error."""
    try:
        exec(_compile(program), _module("__main__", program).__dict__)
        return 0
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException as error:
        _send(channel, _status(error), "")
        print(describe(error), file=sys.stderr)
        return 1


def call(program: str, function: str, inputs: list[bytes], value_bytes: int, channel: int) -> None:
    """Calls ``function`` on each input; writes a frame once loaded and one for each input.

    A frame is eight bytes of length (big endian) and the encoding of a triple: ``ok``, the encoded
    value, and whether it was of a plain type itself; or another status and the error in words.
    """
    try:
        module = _module("program", program)
        exec(_compile(program), module.__dict__)
        entry = getattr(module, function)
        if not callable(entry):
            raise TypeError(f"{function} is a {type(entry).__name__}, not a function")
    except AttributeError as error:
        if error.__traceback__.tb_next is None:
            _send(channel, "error", f"NameError: the program does not define {function}")
        else:
            _send(channel, _status(error), describe(error))
        return
    except BaseException as error:
        _send(channel, _status(error), describe(error))
        return
    sent = _send(channel, "ok", encode(None))
    for data in inputs:
        try:
            limit = value_bytes if sent < ANSWER_BYTES else LATE_BYTES
            value = entry(*decode(data))
            answer = ("ok", encode(value, limit), type(value) in PLAIN_TYPES)
        except BaseException as error:
            answer = (_status(error), describe(error))
        sent += _send(channel, *answer)


def _module(name: str, program: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    lines = program.splitlines(keepends=True)
    linecache.cache[FILE] = (len(program), None, lines, FILE)
    return module


def _compile(program: str) -> Any:
    return compile(program, FILE, "exec", dont_inherit=True)


def _status(error: BaseException) -> str:
    return "memory" if isinstance(error, MemoryError) else "error"


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
    text = "".join(lines) + _cut(message, _MESSAGE)
    return _cut(text.encode("utf-8", "backslashreplace").decode(), _TEXT)


def _cut(text: str, limit: int) -> str:
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"


def _program_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(trace)
        if frame.f_code.co_filename == FILE
    ]
    return traceback.StackSummary.extract(iter(frames), lookup_lines=True)


def _send(channel: int, status: str, content: bytes | str, plain: bool = True) -> int:
    try:
        sys.stdout.flush()
    except Exception:
        sys.stdout = None  # closed or replaced by the program: nothing to keep
    frame = encode((status, content, plain))
    data = memoryview(len(frame).to_bytes(8, "big") + frame)
    while data:
        data = data[os.write(channel, data) :]
    return len(frame)
