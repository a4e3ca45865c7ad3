"""Runs tests that are no calls: whole programs, and code that tests a program."""

import signal
from dataclasses import dataclass

from ocijax.judge.assembly import EMPTY_TESTS, assembled
from ocijax.judge.cases import CodeTest, StdinTest
from ocijax.judge.compare import same_output
from ocijax.judge.task import Task
from ocijax.sandbox.languages import PYTHON
from ocijax.sandbox.result import ExecutionResult, Outcome
from ocijax.sandbox.sandbox import Sandbox

_ROOM = 1 << 16
_LOADED = Outcome("ok")

_PARSE = """
import traceback

def parse(source):
    try:
        compile(source, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return "".join(traceback.format_exception_only(error))
"""


@dataclass(frozen=True)
class Ran:
    """How one test went.

    Attributes:
      passed: whether it did.
      outcome: of a whole program the value is what it printed to stdout, the error what it printed
        to stderr; of code the error says what failed.
      load: not ``ok`` where the program could not be compiled, and says why.
      stdout: what was printed.
    """

    passed: bool
    outcome: Outcome
    load: Outcome
    stdout: str


async def run_test(
    sandbox: Sandbox,
    task: Task,
    program: str,
    test: StdinTest | CodeTest,
    *,
    atol: float,
    cpu_seconds: float,
    wall_seconds: float,
) -> Ran:
    """Runs one test on ``program``, an answer to the task, within these limits.

    Raises:
      InputError: the language's tools are not on this host.
    """
    limits = {"cpu_seconds": cpu_seconds, "wall_seconds": wall_seconds}
    if isinstance(test, StdinTest):
        whole = assembled(task.language, task.preamble, program)
        result = await sandbox.run(
            whole,
            stdin=test.stdin,
            language=task.language,
            # A right output must be there whole, even with as many blanks at the ends of its lines.
            output_bytes=max(sandbox.limits.output_bytes, 2 * len(test.stdout.encode()) + _ROOM),
            **limits,
        )
        return _ran(result, same_output(test.stdout, result.stdout, atol))
    if task.language != PYTHON:
        whole = assembled(task.language, task.preamble, program, test.code)
        return _ran(
            await sandbox.run(whole, files=dict(test.files), language=task.language, **limits)
        )
    entry_point = task.entry_point if task.entry_point.isidentifier() else None
    whole = assembled(PYTHON, task.preamble, program)
    tested = await sandbox.test(whole, test.code, entry_point, dict(test.files), **limits)
    outcome = Outcome(tested.status, None, "\n\n".join(tested.failures), tested.wall_seconds)
    return Ran(tested.passed, outcome, _LOADED, tested.stdout)


def _ran(result: ExecutionResult, right: bool = True) -> Ran:
    status, error = result.status, result.stderr.strip()
    if result.signal == signal.SIGABRT:  # of an assertion that failed, an exception not caught
        status, error = "error", error or "The program aborted."
    elif status == "error" and not error:
        error = f"The program ended with exit status {result.exit_code}."
    outcome = Outcome(status, result.stdout, error, result.wall_seconds, result.cpu_seconds)
    compiled = result.stage == "run"
    passed = compiled and status == "ok" and right
    return Ran(passed, outcome, _LOADED if compiled else outcome, result.stdout)


async def load_program(sandbox: Sandbox, task: Task, program: str) -> tuple[Outcome, str]:
    """Whether a program whose tests are no calls could be run, and what it printed.

    One in Python must parse; one in another language is run without input and must compile, its
    exit status being its own affair. Where code is to go on from it, it needs no main function.
    """
    continued = any(isinstance(case, CodeTest) for case in task.suites["base"].cases)
    tests = EMPTY_TESTS.get(task.language, "") if continued else ""
    whole = assembled(task.language, task.preamble, program, tests)
    if task.language == PYTHON:
        result = await sandbox.call(_PARSE, "parse", [(whole,)])
        last = (result.load, *result.outcomes)[-1]
        if last.status == "ok" and last.value is not None:
            return Outcome("error", None, str(last.value)), ""
        return last, ""
    ran = _ran(await sandbox.run(whole, language=task.language))
    return ran.load, ran.stdout
