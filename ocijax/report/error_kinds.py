"""What kind of error an attempt ended with, read off its program and its feedback."""

import re

from ocijax.evaluate.store import Row
from ocijax.prompts.prompts import PRESETS, Wording, load_prompts

KINDS = {
    "no program": "the reply has no program",
    "syntax": "the program cannot be compiled",
    "name": "a name is not defined, be it the function that was asked for",
    "type": "an operation on a value of the wrong type",
    "exception": "another exception",
    "wrong output": "a public test got another value than expected",
    "time-out": "stopped for the time it took",
    "memory": "more memory than allowed",
    "crash": "the process died or printed too much",
}
"""Kinds of errors and what they are."""

_WORDINGS = [load_prompts(name).wording for name in PRESETS]
_EXCEPTIONS = {
    "SyntaxError": "syntax",
    "IndentationError": "syntax",
    "TabError": "syntax",
    "NameError": "name",
    "UnboundLocalError": "name",
    "TypeError": "type",
    "MemoryError": "memory",
    "TimeoutError": "time-out",
}
# The first line that is not indented and begins with a dotted name names what was raised; the
# words around tracebacks, and the lines about the test after them, do not look so.
_RAISED = re.compile(r"^(?:\w+\.)*(\w+)(?=:|$)", re.MULTILINE)
_TEST = "Input: "


def _beginnings(wording: Wording) -> dict[str, str]:
    """How feedback on an error begins, as far as that is not the name of an exception."""
    texts = {
        wording.timeout: "time-out",
        wording.memory: "memory",
        wording.output: "crash",
        wording.killed: "crash",
        wording.missing: "name",
        wording.wrong_stdout: "wrong output",
        wording.wrong: "wrong output",  # an AssertionError of a program's own follows a traceback
        wording.unknown: "exception",
    }
    return {text.split("{")[0]: kind for text, kind in texts.items() if text}


_BEGINNINGS = {
    beginning: kind for wording in _WORDINGS for beginning, kind in _beginnings(wording).items()
}


def error_kind(attempt: Row) -> str | None:
    """One of `KINDS`, or ``None`` where the attempt passed.

    Args:
      attempt: as a row of ``results.jsonl`` has it; what its feedback says in other words than
        those of our presets is an exception.
    """
    if attempt["passed"]:
        return None
    if attempt["program"] is None:
        return "no program"
    text = attempt["feedback"]
    for wording in _WORDINGS:
        text = text.removeprefix(wording.label)
    for beginning, kind in _BEGINNINGS.items():
        if text.startswith(beginning):
            return kind
    raised = _RAISED.search(text.partition(f"\n{_TEST}")[0])
    if raised is None:
        return "exception"
    return _EXCEPTIONS.get(raised[1], "exception")
