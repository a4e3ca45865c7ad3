"""Runs tests around a program, in the process that was confined for it.

What judges is out of the program's easy reach: it is loaded with a copy of the built-in functions
and imports a `unittest` of its own, so that changing either does not change what the tests use. A
program that sets out to find the tests in this process can do so all the same.
"""

import ast
import builtins
import importlib
import itertools
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from answer import VALUE
from candidate import FILE, compiled, cut, describe, keep_lines, module, send
from encoding import encode

_TESTS_FILE = "<tests>"
_HELD = "__held__"
_MOST_FAILURES = 50
_TEXT = 12_000


def test(channel: int, program: str, tests: str, entry_point: str | None, token: bytes) -> None:
    """Runs ``tests`` on ``program``; writes a frame when all of them have been run.

    Its value is the pair of ``token`` and the failures in words, none where the program passed.
    """
    failures = _failures(program, tests, entry_point)
    texts = [cut(text, _TEXT) for text in failures[:_MOST_FAILURES]]
    send(channel, VALUE, encode((token, texts)))


def _failures(program: str, tests: str, entry_point: str | None) -> list[str]:
    ours = _take_unittest() if "unittest" in tests else {}
    try:
        loaded = _load(program)
        names = _visible(loaded, entry_point)
        if ours:
            _put_back(ours)
            names["unittest"] = ours["unittest"]  # also where the program alone imports it
        space, held = _execute(tests, names)
        failures, succeeded = _run_cases(ours["unittest"], space) if ours else ([], 0)
        check = space.get("check")
        if entry_point is not None and check is not None and check is not names.get("check"):
            if entry_point not in names:
                raise NameError(f"the program does not define {entry_point}")
            check(names[entry_point])
            succeeded += 1
        if not failures and next(held) + succeeded == 0:
            failures = ["no test was run: there is no TestCase, check(candidate) or assert"]
        return failures
    except BaseException as error:
        return [describe(error)]


def _take_unittest() -> dict[str, ModuleType]:
    """Imports the modules of `unittest`, and has a program that imports them get others."""
    unittest = importlib.import_module("unittest")
    unittest.main = lambda *_, **__: None  # the cases are run here, whatever the file ends with
    return {name: sys.modules.pop(name) for name in filter(_of_unittest, list(sys.modules))}


def _put_back(ours: dict[str, ModuleType]) -> None:
    for name in filter(_of_unittest, list(sys.modules)):
        del sys.modules[name]
    sys.modules.update(ours)


def _of_unittest(name: str) -> bool:
    return name.partition(".")[0] == "unittest"


def _load(program: str) -> ModuleType:
    copy = ModuleType("builtins")
    copy.__dict__.update(builtins.__dict__)
    sys.modules["builtins"] = copy
    loaded = module("program")
    loaded.__dict__["__builtins__"] = copy.__dict__
    exec(compiled(program, FILE), loaded.__dict__)
    return loaded


def _visible(loaded: ModuleType, entry_point: str | None) -> dict[str, Any]:
    """The names that the tests see as if they stood below the program."""
    return {
        name: value
        for name, value in loaded.__dict__.items()
        if name == entry_point or not (name.startswith("__") or hasattr(builtins, name))
    }


def _execute(tests: str, names: dict[str, Any]) -> tuple[dict[str, Any], Iterator[int]]:
    """Executes the tests' file; returns what it defines, and the count of asserts that held."""
    space = module("tests").__dict__
    held = itertools.count()
    space |= names | {_HELD: held.__next__}
    keep_lines(tests, _TESTS_FILE)
    tree = _Counting().visit(ast.parse(tests, _TESTS_FILE))
    exec(compiled(tree, _TESTS_FILE), space)
    return space, held


class _Counting(ast.NodeTransformer):
    """Has every ``assert`` counted that held."""

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        counted = ast.Expr(ast.Call(ast.Name(_HELD, ast.Load()), [], []))
        return [node, ast.fix_missing_locations(ast.copy_location(counted, node))]


def _run_cases(unittest: ModuleType, space: dict[str, Any]) -> tuple[list[str], int]:
    """Runs the test cases that the tests define; returns what failed, and how many did not."""
    cases = [
        value
        for value in space.values()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == "tests"
    ]
    succeeded = []
    result = unittest.TestResult()
    result.addSuccess = succeeded.append
    result.addExpectedFailure = lambda case, _: succeeded.append(case)
    load = unittest.TestLoader().loadTestsFromTestCase
    unittest.TestSuite(map(load, cases)).run(result)
    failures = [f"{case.id()}\n{trace}" for case, trace in result.failures + result.errors]
    failures += [f"{case.id()}: unexpected success" for case in result.unexpectedSuccesses]
    failures += [
        f"{case.id()}: skipped while it ran: {reason}"
        for case, reason in result.skipped
        if not _is_marked_skipped(case)
    ]
    return failures, len(succeeded)


def _is_marked_skipped(case: Any) -> bool:
    method = getattr(case, getattr(case, "_testMethodName", ""), None)
    return any(getattr(place, "__unittest_skip__", False) for place in (case, method))
