"""Words what happened when a program ran, as the user turn that a model is to read.

The texts are in ``ocijax/prompts``. In our own what went wrong comes first, in words, a failing
test's own message before its values: who stops early has read the best part.
"""

import re

from ocijax.judge.checker import PublicResult
from ocijax.judge.task import CodeTest, StdinTest, Task, Test, TestCase
from ocijax.prompts.prompts import Wording, turns
from ocijax.sandbox.encoding import Digest, Opaque
from ocijax.sandbox.languages import PYTHON, title
from ocijax.sandbox.result import ExecutionResult, Outcome

OURS = turns().wording
"""Of ``turns.toml``."""

_MARKED = 50  # what says how much was left out is shorter
_MISSING = "NameError: the program does not define "
_SYNTAX = re.compile("(Syntax|Indentation|Tab)Error")
_FRAME = '  File "<program>"'


def no_code_feedback(language: str = PYTHON, entry_point: str = "", wording: Wording = OURS) -> str:
    """For a reply in which there is no program."""
    text = wording.no_code.format(entry_point=entry_point, language=title(language))
    return wording.label + text


def public_feedback(task: Task, result: PublicResult, wording: Wording = OURS) -> str:
    """For a program that did not pass the tests that may be shown."""
    if result.failure is None:
        return load_feedback(result.load, task.entry_point, wording)
    return failure_feedback(task.entry_point, *result.failure, wording)


def load_feedback(outcome: Outcome, entry_point: str = "", wording: Wording = OURS) -> str:
    """For a program that failed before any test: a syntax error, say, or a missing function."""
    if wording.missing and outcome.error.strip().startswith(_MISSING):
        return _labelled(wording.missing.format(entry_point=entry_point), wording)
    return _labelled(_trouble(outcome, wording), wording)


def failure_feedback(
    entry_point: str, test: Test, outcome: Outcome, wording: Wording = OURS
) -> str:
    """For a test that failed.

    Args:
      entry_point: the function that was called.
      test: what was done and what must come of it.
      outcome: what it gave; see `ocijax.judge.runs.Ran` where the test is no call.
      wording: the texts.
    """
    message = _cut(test.message, wording.longest // 6, wording)
    match test:
        case TestCase():
            text = _call_text(entry_point, test, outcome, message, wording)
        case StdinTest():
            text = "\n".join(_run_lines(test, outcome, message, wording))
        case CodeTest():
            trouble = (
                [_trouble(outcome, wording), message] if message else [_trouble(outcome, wording)]
            )
            code = _cut(test.code.strip(), wording.longest // 3, wording)
            text = "\n".join([*trouble, "Test:", code])
    return _labelled(text, wording)


def _call_text(
    entry_point: str, test: TestCase, outcome: Outcome, message: str, wording: Wording
) -> str:
    right_kind = outcome.status == "ok"
    arguments = _shown(wording, *test.arguments)
    values = {
        "message": message or (wording.wrong_message if right_kind else ""),
        "trouble": "" if right_kind else _trouble(outcome, wording),
        "input": arguments,
        "call": f"{entry_point}({arguments})",
        "expected": _shown(wording, test.expected),
        "actual": _shown(wording, outcome.value) if right_kind else "",
    }
    lines = (wording.wrong if right_kind else wording.failed).split("\n")
    # A line for the message alone is left out where there is none.
    kept = [line for line in lines if line != "{message}" or values["message"]]
    return "\n".join(kept).format(**values)


def _run_lines(test: StdinTest, outcome: Outcome, message: str, wording: Wording) -> list[str]:
    def stream(text: str) -> str:
        return _cut(text.rstrip(), wording.longest // 6, wording) or "(nothing)"

    wrong = outcome.status == "ok"
    lines = [wording.wrong_stdout if wrong else _trouble(outcome, wording)]
    if message:
        lines.append(message)
    lines += ["Input:", stream(test.stdin), "Expected output:", stream(test.stdout)]
    if wrong or str(outcome.value or "").strip():
        lines += ["Actual output:", stream(str(outcome.value or ""))]
    if wrong and outcome.error:
        lines += ["Standard error:", stream(outcome.error)]
    return lines


def run_feedback(result: ExecutionResult, wording: Wording = OURS) -> str:
    """For a program that was run as it is, with no test: what it printed, or how it ended."""
    longest = wording.longest - wording.longest // 3 - 2 * _MARKED
    printed = _cut(result.stdout.strip(), longest, wording)
    if result.status == "ok":
        return _labelled(printed or wording.nothing_printed, wording)
    error = result.stderr.strip()
    if result.status == "error" and not error:
        error = f"The program ended with exit status {result.exit_code}."
    trouble = _trouble(Outcome(result.status, None, error), wording)
    return _labelled(f"{printed}\n{trouble}" if printed else trouble, wording)


def _trouble(outcome: Outcome, wording: Wording) -> str:
    """Why there is no value, in words; never empty."""
    error = outcome.error.rstrip().lstrip("\n")
    if wording.traceback == "frames" and _FRAME in error:
        error = _frames(error)
    match outcome.status:
        case "timeout":
            text = wording.timeout
        case "memory":
            text = wording.memory
        case "output":
            text = wording.output
        case "killed":
            text = f"{wording.killed}\n{error}" if error else wording.killed
        case _:
            text = error or wording.unknown
    return _cut(text, wording.longest // 3, wording)


def _frames(traceback: str) -> str:
    """A traceback as of a program that was given to ``exec``, without the head and our name."""
    lines = traceback[traceback.index(_FRAME) :].replace(_FRAME, '  File "<string>"').split("\n")
    if not _SYNTAX.match(lines[-1]):
        # There is no file to read lines of the program from.
        lines = [line for line in lines if not line.startswith("    ")]
    return "\n".join(lines).lstrip()


def _shown(wording: Wording, *values: object) -> str:
    return _cut(", ".join(map(_written, values)), wording.longest // 6, wording)


def _written(value: object) -> str:
    match value:
        case Digest():
            return f"<a value of {value.length} bytes>"
        case Opaque():
            return value.text or f"<a {value.type_name}>"
    try:
        return repr(value)
    except ValueError:  # whole numbers have a limit of digits
        return f"<a {type(value).__name__} too long to print>"


def _labelled(text: str, wording: Wording) -> str:
    # Half of a surrogate pair is no text that a tokenizer can read.
    readable = text.encode("utf-8", "backslashreplace").decode()
    if wording.keep == "head":
        return wording.label + readable[: wording.longest]
    return wording.label + _cut(readable, wording.longest - _MARKED, wording)


def _cut(text: str, longest: int, wording: Wording) -> str:
    """Head and tail of a text that is too long, and how much was left out between.

    Where only heads are kept, the whole is cut once, at its end.
    """
    if len(text) <= longest or wording.keep == "head":
        return text
    head, tail = longest * 2 // 3, longest // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"
