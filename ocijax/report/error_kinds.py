"""What kind of error an attempt ended with: by its status, and by what its feedback says."""

import re

from ocijax.evaluate.store import Row
from ocijax.prompts.prompts import PRESETS, Wording, load_prompts
from ocijax.refine.extract import is_python

KINDS = {
    "no program": "the reply has no program",
    "syntax": "the program cannot be compiled",
    "name": "a name is not defined, be it the function that was asked for",
    "type": "an operation on a value of the wrong type",
    "exception": "another exception",
    "wrong output": "a test got another value than expected",
    "time-out": "stopped for the time it took",
    "memory": "more memory than allowed",
    "crash": "the process died or printed too much",
}
"""Kinds of errors and what they are."""

_WORDINGS = [load_prompts(name).wording for name in PRESETS]
_STATUSES = {
    "ok": "wrong output",
    "no_code": "no program",
    "timeout": "time-out",
    "memory": "memory",
    "refused": "memory",
    "output": "crash",
    "killed": "crash",
}
_EXCEPTIONS = {
    "SyntaxError": "syntax",
    "IndentationError": "syntax",
    "TabError": "syntax",
    "NameError": "name",
    "UnboundLocalError": "name",
    "ReferenceError": "name",  # JavaScript's
    "TypeError": "type",
}
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = re.compile(
    "During handling of the above exception, another exception occurred:"
    "|The above exception was the direct cause of the following exception:"
)
_FRAME = re.compile(r'^ *File "([^"\n]*)"', re.MULTILINE)
# The first line below the frames that is not indented and begins with a dotted name says what was
# raised; the words around tracebacks, and the lines about the test after them, do not look so.
_RAISED = re.compile(r"^(?:\w+\.)*(\w+)(?: \[\w+\])?(?=:\s|:?$)", re.MULTILINE)
_ASSERTED = re.compile(r"\bAssertionError\b|\b[Aa]ssertion\b.*\bfailed\b")
_OF_TESTS = "<tests>"
_TEST = re.compile(r"\n(?:Input: |Input:\n|Test:\n)")


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
      attempt: as a row of ``results.jsonl`` has it. One of a run that recorded no status is known
        by its feedback alone, as far as that is in the words of our presets.
    """
    if attempt["passed"]:
        return None
    if attempt["program"] is None:
        return "no program"
    text, status = attempt["feedback"], attempt.get("status")
    for wording in _WORDINGS:
        text = text.removeprefix(wording.label)
    if status == "load":
        return _load_kind(text, attempt["program"])
    if status:
        return _STATUSES.get(status) or _raised_kind(text)
    for beginning, kind in _BEGINNINGS.items():
        if text.startswith(beginning):
            return kind
    return _raised_kind(text)


def _load_kind(text: str, program: str) -> str:
    """Of a program that failed before any test."""
    name, file = _raised(text)
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    if not is_python(program):  # what a compiler says of it has no form
        return "syntax"
    return "exception" if file else "name"


def _raised_kind(text: str) -> str:
    """Of a program, or tests around it, that raised something."""
    text = _TEST.split(text, maxsplit=1)[0]
    name, file = _raised(text)
    asserted = name == "AssertionError" if file else _ASSERTED.search(text)
    if asserted and file in ("", _OF_TESTS):
        return "wrong output"
    return _EXCEPTIONS.get(name, "exception")


def _raised(text: str) -> tuple[str, str]:
    """Name of the exception that ended a traceback and the file that raised it; empty: unknown.

    Of chained ones it is the last, of several tests that failed the first one's.
    """
    traces = [one for one in text.split(_TRACEBACK) if _FRAME.search(one)] or [text]
    last = next((one for one in traces if not _CHAINED.search(one)), traces[-1])
    *_, frame = (None, *_FRAME.finditer(last))
    raised = _RAISED.search(last, frame.end() if frame else 0)
    return raised[1] if raised else "", frame[1] if frame else ""
