"""Words what happened when a program ran, as the user turn that a model is to read.

The label is that of the OpenCodeInterpreter demo (arXiv 2402.14658). What went wrong comes first,
in words, a failing test's own message before its values: who stops early has read the best part.
"""

from ocijax.judge.task import TestCase
from ocijax.sandbox.result import ExecutionResult, Outcome

LABEL = "Execution result:\n"

LONGEST = 1000
"""Characters of a feedback without its label; of a longer one head and tail are kept."""

NO_CODE = "No code was found in the reply. Give the whole program in one Python code block."
NOTHING_PRINTED = "The program ended without error and printed nothing."
TIMEOUT = "TimeoutError: the program took too long and was stopped."
MEMORY = "MemoryError: the program used more memory than allowed."
OUTPUT = "The program printed too much and was stopped."
KILLED = "The program crashed: its process was killed."
REFUSED = "The program was not run: the sandbox refused it."


def no_code_feedback() -> str:
    """For a reply in which there is no program."""
    return LABEL + NO_CODE


def load_feedback(outcome: Outcome) -> str:
    """For a program that failed before any test: a syntax error, say, or a missing function."""
    return _labelled(_trouble(outcome))


def failure_feedback(entry_point: str, test: TestCase, outcome: Outcome) -> str:
    """For a test that failed.

    Args:
      entry_point: the function that was called.
      test: the call and what it must give.
      outcome: what it gave.
    """
    call = f"{entry_point}({', '.join(_shown(argument) for argument in test.arguments)})"
    values = [f"Input: {call}", f"Expected: {_shown(test.expected)}"]
    if outcome.status == "ok":
        values.append(f"Actual: {_shown(outcome.value)}")
        trouble = f"AssertionError: {test.message or 'wrong output'}"
    else:
        trouble = "\n".join(filter(None, [_trouble(outcome), test.message]))
    return _labelled("\n".join([trouble, *values]))


def run_feedback(result: ExecutionResult) -> str:
    """For a program that was run as it is, with no test: what it printed, or how it ended."""
    printed = result.stdout.strip()
    if result.status == "ok":
        return _labelled(printed or NOTHING_PRINTED)
    trouble = _trouble(Outcome(result.status, None, result.stderr.strip()))
    return _labelled("\n".join(filter(None, [printed, trouble])))


def _trouble(outcome: Outcome) -> str:
    """Why there is no value, in words; never empty."""
    worded = {
        "timeout": TIMEOUT,
        "memory": MEMORY,
        "output": OUTPUT,
        "killed": KILLED,
        "refused": REFUSED,
    }
    if outcome.status in worded:
        return worded[outcome.status]
    return outcome.error.strip() or "The program failed without saying why."


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # whole numbers have a limit of digits
        text = f"<{type(value).__name__} too long to print>"
    return _middle_cut(text, LONGEST // 4)


def _labelled(text: str) -> str:
    # Half of a surrogate pair is no text that a tokenizer can read.
    readable = text.encode("utf-8", "backslashreplace").decode()
    return LABEL + _middle_cut(readable, LONGEST)


def _middle_cut(text: str, longest: int) -> str:
    """Head and tail of a text that is too long, and how much was left out between."""
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    return f"{text[:head]}\n[… {len(text) - head - tail} characters …]\n{text[-tail:]}"
