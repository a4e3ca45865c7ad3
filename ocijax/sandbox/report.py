"""Reads what a candidate's process answered, and says in words how it ended."""

import signal

from ocijax.sandbox.answer import ERROR, LIKE, MEMORY, VALUE
from ocijax.sandbox.encoding import EncodingError, decode
from ocijax.sandbox.process import Ending, Time
from ocijax.sandbox.result import Outcome, Status

GARBLED = "the program wrote into the channel of its answers"

_ERROR_CHARACTERS = 32 << 10
_STATUSES: dict[bytes, Status] = {ERROR: "error", MEMORY: "memory"}


def outcome(frame: bytes, passed: Time) -> Outcome:
    """Reads one frame, which may be anything: the candidate's process can write there."""
    kind, content = frame[:1], frame[1:]
    try:
        if kind in (VALUE, LIKE):
            value = decode(content)
            return Outcome("ok", value, "", passed.wall, passed.cpu, kind == VALUE)
        if kind not in _STATUSES:
            raise EncodingError("no such answer")
        status, text = _STATUSES[kind], content.decode("utf-8", "backslashreplace")
    except ValueError as error:
        status, text = "error", f"unreadable answer ({error})"
    return Outcome(status, None, text[:_ERROR_CHARACTERS], passed.wall, passed.cpu)


def end_status(ending: Ending, success: Status = "ok") -> Status:
    """Returns the status of a process that ended so; ``success`` where its exit status is 0."""
    if ending.cause == "exit":
        return "error" if ending.number else success
    if ending.cause == "signal":
        return "timeout" if ending.number == signal.SIGXCPU else "killed"
    if ending.cause == "oversize":
        return "refused"
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
        "oversize": "the program was not run: it, its input and its files exceed its memory",
        "done": "the program was given up",
    }[ending.cause]
