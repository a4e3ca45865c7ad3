"""Reads what a candidate's process answered, and says in words how it ended."""

import signal

from ocijax.sandbox.encoding import LATE_BYTES, EncodingError, decode
from ocijax.sandbox.process import Ending, Time
from ocijax.sandbox.result import Outcome, Status

GARBLED = "the program wrote into the channel of its answers"

_ERROR_CHARACTERS = 32 << 10
_STATUSES = ("ok", "error", "memory")


def outcome(frame: bytes, passed: Time, value_bytes: int = 0) -> Outcome:
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


def end_status(ending: Ending, success: Status = "ok") -> Status:
    """Returns the status of a process that ended so; ``success`` where its exit status is 0."""
    if ending.cause == "exit":
        return "error" if ending.number else success
    if ending.cause == "signal":
        return "timeout" if ending.number == signal.SIGXCPU else "killed"
    return ending.cause if ending.cause in ("timeout", "output", "memory") else "error"


def end_text(ending: Ending) -> str:
    """Returns how the process ended, in one line."""
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
        "garbled": GARBLED,
        "done": "the program was given up",
    }[ending.cause]
