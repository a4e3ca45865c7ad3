"""What kind of error an attempt ended with, read off its program and its feedback."""

import re

from ocijax.evaluate.store import Row
from ocijax.refine.feedback import KILLED, LABEL, MEMORY, OUTPUT, TIMEOUT, UNKNOWN

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

_ENDINGS = {TIMEOUT: "time-out", MEMORY: "memory", OUTPUT: "crash", KILLED: "crash"}
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


def error_kind(attempt: Row) -> str | None:
    """One of `KINDS`, or ``None`` where the attempt passed.

    Args:
      attempt: as a row of ``results.jsonl`` has it; its feedback is worded by
        `ocijax.refine.feedback`.
    """
    if attempt["passed"]:
        return None
    if attempt["program"] is None:
        return "no program"
    text = attempt["feedback"].removeprefix(LABEL)
    for words, kind in _ENDINGS.items():
        if text.startswith(words):
            return kind
    if text.startswith("AssertionError: "):  # one that a program raises follows a traceback
        return "wrong output"
    raised = _RAISED.search(text.partition(f"\n{_TEST}")[0])
    if raised is None or text.startswith(UNKNOWN):
        return "exception"
    return _EXCEPTIONS.get(raised[1], "exception")
