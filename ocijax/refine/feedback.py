"""Words what happened when a program ran, as the user turn that a model is to read.

The label is that of the OpenCodeInterpreter demo (arXiv 2402.14658). What went wrong comes first,
in words, a failing test's own message before its values: who stops early has read the best part.
"""

from ocijax.judge.checker import PublicResult
from ocijax.judge.task import CodeTest, StdinTest, Task, Test, TestCase
from ocijax.sandbox.encoding import Digest, Opaque
from ocijax.sandbox.languages import PYTHON, title
from ocijax.sandbox.result import ExecutionResult, Outcome

LABEL = "Execution result:\n"

LONGEST = 1500
"""Characters of a feedback without its label; of longer parts head and tail are kept."""

_TROUBLE = LONGEST // 3
_VALUE = LONGEST // 6
_MARKED = 50  # what says how much was left out is shorter

NO_CODE = "No code was found in the reply. Give the whole program in one {} code block."
NOTHING_PRINTED = "The program ended without error and printed nothing."
WRONG_OUTPUT = "The program printed a wrong output."
TIMEOUT = "TimeoutError: the program took too long and was stopped."
MEMORY = "MemoryError: the program used more memory than allowed."
OUTPUT = "The program printed too much and was stopped."
KILLED = "The program crashed: its process was killed."
UNKNOWN = "The program failed without saying why."


def no_code_feedback(language: str = PYTHON) -> str:
    """For a reply in which there is no program."""
    return LABEL + NO_CODE.format(title(language))


def public_feedback(task: Task, result: PublicResult) -> str:
    """For a program that did not pass the tests that may be shown."""
    if result.failure is None:
        return load_feedback(result.load)
    return failure_feedback(task.entry_point, *result.failure)


def load_feedback(outcome: Outcome) -> str:
    """For a program that failed before any test: a syntax error, say, or a missing function."""
    return _labelled(_trouble(outcome))


def failure_feedback(entry_point: str, test: Test, outcome: Outcome) -> str:
    """For a test that failed.

    Args:
      entry_point: the function that was called.
      test: what was done and what must come of it.
      outcome: what it gave; see `ocijax.judge.runs.Ran` where the test is no call.
    """
    message = _middle_cut(test.message, _VALUE)
    match test:
        case TestCase():
            return _labelled("\n".join(_call_lines(entry_point, test, outcome, message)))
        case StdinTest():
            return _labelled("\n".join(_run_lines(test, outcome, message)))
        case CodeTest():
            trouble = [_trouble(outcome), message] if message else [_trouble(outcome)]
            code = _middle_cut(test.code.strip(), _TROUBLE)
            return _labelled("\n".join([*trouble, "Test:", code]))


def _call_lines(entry_point: str, test: TestCase, outcome: Outcome, message: str) -> list[str]:
    lines = [
        f"Input: {entry_point}({_shown(*test.arguments)})",
        f"Expected: {_shown(test.expected)}",
    ]
    if outcome.status == "ok":
        lines.insert(0, f"AssertionError: {message or 'wrong output'}")
        lines.append(f"Actual: {_shown(outcome.value)}")
    else:
        lines[:0] = [_trouble(outcome), message] if message else [_trouble(outcome)]
    return lines


def _run_lines(test: StdinTest, outcome: Outcome, message: str) -> list[str]:
    wrong = outcome.status == "ok"
    lines = [WRONG_OUTPUT if wrong else _trouble(outcome)]
    if message:
        lines.append(message)
    lines += ["Input:", _stream(test.stdin), "Expected output:", _stream(test.stdout)]
    if wrong or str(outcome.value or "").strip():
        lines += ["Actual output:", _stream(str(outcome.value or ""))]
    if wrong and outcome.error:
        lines += ["Standard error:", _stream(outcome.error)]
    return lines


def _stream(text: str) -> str:
    return _middle_cut(text.rstrip(), _VALUE) or "(nothing)"


def run_feedback(result: ExecutionResult) -> str:
    """For a program that was run as it is, with no test: what it printed, or how it ended."""
    printed = _middle_cut(result.stdout.strip(), LONGEST - _TROUBLE - 2 * _MARKED)
    if result.status == "ok":
        return _labelled(printed or NOTHING_PRINTED)
    error = result.stderr.strip()
    if result.status == "error" and not error:
        error = f"The program ended with exit status {result.exit_code}."
    trouble = _trouble(Outcome(result.status, None, error))
    return _labelled(f"{printed}\n{trouble}" if printed else trouble)


def _trouble(outcome: Outcome) -> str:
    """Why there is no value, in words; never empty."""
    error = outcome.error.rstrip().lstrip("\n")
    match outcome.status:
        case "timeout":
            text = TIMEOUT
        case "memory":
            text = MEMORY
        case "output":
            text = OUTPUT
        case "killed":
            text = f"{KILLED}\n{error}" if error else KILLED
        case _:
            text = error or UNKNOWN
    return _middle_cut(text, _TROUBLE)


def _shown(*values: object) -> str:
    return _middle_cut(", ".join(map(_written, values)), _VALUE)


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


def _labelled(text: str) -> str:
    # Half of a surrogate pair is no text that a tokenizer can read.
    readable = text.encode("utf-8", "backslashreplace").decode()
    return LABEL + _middle_cut(readable, LONGEST - _MARKED)


def _middle_cut(text: str, longest: int) -> str:
    """Head and tail of a text that is too long, and how much was left out between."""
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"
