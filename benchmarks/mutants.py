"""Programs of mixed quality: canonical solutions with one fault each, as a samples file.

    python -m benchmarks.mutants --output=mutants.jsonl

Rows have ``task_id``, ``solution`` and ``fault``, in EvalPlus's format but for the last. Faults are
changes of the syntax tree at one place, drawn by ``--seed``; as many of each kind as there can be,
up to ``--each``. Some change nothing that a test notices.
"""

import ast
import copy
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags

from ocijax.json_lines import write_rows
from ocijax.judge.evalplus import OVERRIDES, Problem, data_file, read_problems
from ocijax.program import run

EACH = flags.DEFINE_integer("each", 80, "Programs of a kind of fault.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the draws.")
OUTPUT = flags.DEFINE_string("output", "", "Samples file to write.")

_COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Div,
    ast.Div: ast.FloorDiv,
    ast.Mod: ast.FloorDiv,
}


def _constant(node: ast.AST) -> None:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1


def _comparison(node: ast.AST) -> None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        node.ops[0] = _COMPARISONS[type(node.ops[0])]()


def _operator(node: ast.AST) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        node.op = _OPERATORS[type(node.op)]()


def _condition(node: ast.AST) -> None:
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)


def _missing_statement(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list) and isinstance(node, ast.For | ast.If | ast.FunctionDef):
        body[-1] = ast.Pass()


def _name(node: ast.AST) -> None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        node.id += "_"


def _returned(text: str) -> Callable[[ast.AST], None]:
    """The value of a return becomes this expression of ``value``."""

    def change(node: ast.AST) -> None:
        if isinstance(node, ast.Return) and node.value is not None:
            call = ast.parse(f"(lambda value: {text})(0)", mode="eval").body
            call.args = [node.value]
            node.value = call

    return change


def _begun(text: str) -> Callable[[ast.AST], None]:
    """A function begins with these statements."""

    def change(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef):
            node.body[:0] = ast.parse(text).body

    return change


FAULTS: dict[str, Callable[[ast.AST], None]] = {
    "constant off by one": _constant,
    "other comparison": _comparison,
    "other operator": _operator,
    "condition negated": _condition,
    "statement missing": _missing_statement,
    "undefined name": _name,
    "returns None": _returned("None"),
    "other type": _returned("tuple(value) if isinstance(value, list) else [value]"),
    "as text": _returned("str(value)"),
    "float near": _returned("value + 1e-9 if isinstance(value, float) else value"),
    "float far": _returned("value * 1.001 if isinstance(value, float) else value"),
    "exception": _begun("raise ValueError('no')"),
    "exit": _begun("raise SystemExit(0)"),
    "leaves the process": _begun("import os\nos._exit(0)"),
    "too much memory": _begun("much = bytearray(6 << 30)"),
    "prints much": _begun("print('x' * 10000)"),
    "deep recursion": _begun("def down():\n    return down()\ndown()"),
    "endless": _begun("while True:\n    pass"),
}
"""Kinds, each changing a node of the tree where it can."""

ENDLESS = frozenset({"endless"})
"""Kinds that do not end by themselves, others may by chance."""


def mutants(problems: Sequence[Problem], each: int, seed: int) -> Iterator[dict[str, str]]:
    """Rows of a samples file, drawn from all tasks."""
    for fault, change in FAULTS.items():
        chance = random.Random(f"{seed}/{fault}")
        made = 0
        for problem in chance.sample(problems, len(problems)):
            if made < each and (program := _mutated(problem, change, chance)):
                made += 1
                yield {"task_id": problem.task_id, "solution": program, "fault": fault}


def _mutated(
    problem: Problem, change: Callable[[ast.AST], None], chance: random.Random
) -> str | None:
    """The solution changed at one place; ``None`` where there is no such place."""
    tree = ast.parse(problem.prompt + problem.canonical_solution)
    right = ast.unparse(tree)
    places = range(sum(1 for _ in ast.walk(tree)))
    for place in chance.sample(places, len(places)):
        changed = copy.deepcopy(tree)
        change(next(node for index, node in enumerate(ast.walk(changed)) if index == place))
        program = ast.unparse(ast.fix_missing_locations(changed))
        if program != right:
            return program + "\n"
    return None


def all_mutants(each: int, seed: int) -> dict[str, list[dict[str, str]]]:
    """The rows for each benchmark whose file there is."""
    found = {}
    for benchmark in OVERRIDES:
        problems = read_problems(benchmark, data_file(benchmark))
        found[benchmark] = list(mutants(problems, -(-each // len(OVERRIDES)), seed))
    return found


def main() -> None:
    """Writes the file, and prints how many rows each kind has."""
    rows = [row for rows in all_mutants(EACH.value, SEED.value).values() for row in rows]
    if OUTPUT.value:
        write_rows(Path(OUTPUT.value), rows)
    for fault in FAULTS:
        print(f"{fault:24}{sum(row['fault'] == fault for row in rows):6}")


if __name__ == "__main__":
    run(main)
