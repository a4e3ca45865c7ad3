"""LeetCodeDataset (github.com/newfacade/LeetCodeDataset, arXiv 2504.14655).

A row has ``task_id``, ``query``, ``prompt`` (imports and helpers that LeetCode gives), ``test`` (a
function ``check(candidate)`` of asserts), ``entry_point``, ``completion`` and ``input_output``; the
statement with its examples is ``problem_description``, or in ``meta`` as ``question_title``, and
the signature likewise ``starter_code`` or ``lang_code``.

An assert that compares a call on plain values with a plain value becomes a call, others (of trees
and lists, say) become code. All of them score. Those whose input the statement shows are public,
but for the last where it would show all: one stays hidden.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any

from datasets_build.task_formats.optional import optional_text
from ocijax.errors import InputError
from ocijax.judge.fields import field
from ocijax.judge.task import CodeTest, Suite, Task, Test, TestCase

_ASK = "\n\nAnswer with the whole class in one Python code block."
_CALL_OF_A_CLASS = re.compile(r"(\w+)\(\)\.(\w+)")


def leetcodedataset_task(row: dict[str, Any]) -> Task:
    """The task of one row.

    Raises:
      InputError: a field is missing or of the wrong type, or its tests are no list of asserts.
    """
    texts = {
        name: field(row, "its", name, str)
        for name in ("task_id", "query", "prompt", "completion", "entry_point", "test")
    }
    entry_point = texts["entry_point"]
    called = _CALL_OF_A_CLASS.fullmatch(entry_point)
    if called is None:
        raise InputError(f"its entry_point {entry_point!r} is no method of a class")
    meta = field(row, "its", "meta", dict, {})
    starter = (
        optional_text(row, "starter_code")
        or optional_text(meta, "lang_code")
        or texts["completion"]
    )
    parameters = _parameters(starter, called[2])
    tests = tuple(
        _test(condition, entry_point, parameters) for condition in _asserts(texts["test"])
    )
    statement = optional_text(row, "problem_description") or optional_text(meta, "question_title")
    shown = _shown(tests, row, statement)
    return Task(
        task_id=texts["task_id"],
        instruction=texts["query"].strip() + _ASK,
        entry_point=entry_point,
        public_tests=shown[: len(tests) - 1],
        suites={"base": Suite(tests)},
        metadata={"solution": texts["completion"]},
        preamble=texts["prompt"],
    )


def _parameters(starter: str, method: str) -> list[str]:
    """The names of the method's parameters, without ``self``."""
    signature = re.search(
        rf"def {method}\s*\(\s*self\s*,?(.*?)\)\s*(?:->|:\s*$)", starter, re.S | re.M
    )
    try:
        made = ast.parse(f"lambda: 0\ndef f({signature[1]}): pass" if signature else "")
    except SyntaxError:
        return []
    return [one.arg for one in made.body[-1].args.args] if signature else []


def _asserts(source: str) -> list[ast.expr]:
    try:
        match ast.parse(source).body:
            case [ast.FunctionDef(name="check", body=[*body])] if body and all(
                isinstance(one, ast.Assert) for one in body
            ):
                return [one.test for one in body]
    except SyntaxError as error:
        raise InputError(f"its test does not parse: {error}") from error
    raise InputError("its test is no function check(candidate) of asserts")


def _test(condition: ast.expr, entry_point: str, parameters: Sequence[str]) -> Test:
    match condition:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="candidate"), args=given, keywords=named),
            ops=[ast.Eq()],
            comparators=[expected],
        ):
            try:
                values = dict(zip(parameters, map(ast.literal_eval, given), strict=False))
                values |= {one.arg: ast.literal_eval(one.value) for one in named}
                if list(values) and len(values) == len(given) + len(named) <= len(parameters):
                    ordered = [values[name] for name in parameters[: len(values)]]
                    return TestCase(tuple(ordered), ast.literal_eval(expected))
            except (ValueError, KeyError, TypeError):
                pass  # no plain values, or none for a parameter: the code is kept
    candidate = ast.parse(entry_point, mode="eval").body

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return candidate if node.id == "candidate" else node

    return CodeTest(f"assert {ast.unparse(Named().visit(condition))}\n")


def _shown(tests: Sequence[Test], row: dict[str, Any], statement: str) -> tuple[Test, ...]:
    """The tests whose input the statement shows."""
    pairs = field(row, "its", "input_output", list, [])
    if len(pairs) != len(tests):
        return ()
    told = "".join(statement.split())
    return tuple(
        test
        for test, pair in zip(tests, pairs, strict=True)
        if isinstance(pair, dict) and "".join(str(pair.get("input")).split()) in told
    )
