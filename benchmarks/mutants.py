"""Makes a samples file of mixed quality: canonical solutions, each with one fault.

    python -m benchmarks.mutants --output=mutants.jsonl --per_task=3

Of HumanEval and MBPP, in EvalPlus's format with a further field ``fault``, one of `FAULTS`. The
same flags give the same file. For `benchmarks.parity`, which compares what judges say of them.
"""

import ast
import asyncio
import copy
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from ocijax.json_lines import write_rows
from ocijax.judge import evalplus
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.task import Task
from ocijax.program import run
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import Sandbox

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True)
class Original:
    """A right program for a task.

    Attributes:
      task: whose; its expected values say of which types outputs are.
      tree: the program.
    """

    task: Task
    tree: ast.Module


Mutate = Callable[[Original, random.Random], str | None]
"""Gives the program with a fault, or ``None`` where it has no place for one."""

_COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}

_OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}

_KEPT = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Return, ast.Pass)

_CONVERSIONS = {
    list: ("tuple(result)", "str(result)", "iter(result)", "len(result)"),
    tuple: ("list(result)", "str(result)", "set(map(repr, result))"),
    set: ("list(result)", "frozenset(result)", "sorted(map(repr, result))"),
    dict: ("list(result)", "list(result.items())", "str(result)"),
    str: ("list(result)", "result.encode()", "[result]"),
    bool: ("int(result)", "str(result)", "None"),
    int: ("float(result)", "str(result)", "[result]"),
    float: ("str(result)", "int(result)", "complex(result)"),
    type(None): ("False", "''"),
}
"""Other types for an output, by its own; some of them are equal to it."""

_WRAPPED = """

_right = {name}


def {name}(*arguments):
    {before}
    result = _right(*arguments)
    {after}
    return {result}
"""

_NUDGED = (
    "(lambda nudge: type(result)(map(nudge, result)) if isinstance(result, (list, tuple)) else"
    " nudge(result))(lambda x: x {by} if isinstance(x, float) else x)"
)


def _places(tree: ast.AST, kind: type[Node], fits: Callable[[Node], bool]) -> list[Node]:
    return [node for node in ast.walk(tree) if isinstance(node, kind) and fits(node)]


def _at_one_place(
    kind: type[Node],
    fits: Callable[[Node], bool],
    change: Callable[[Node, random.Random], None],
) -> Mutate:
    """Changes one of the nodes that fit."""

    def mutate(original: Original, chance: random.Random) -> str | None:
        tree = copy.deepcopy(original.tree)
        places = _places(tree, kind, fits)
        if not places:
            return None
        change(chance.choice(places), chance)
        return ast.unparse(ast.fix_missing_locations(tree))

    return mutate


def _off_by_one(node: ast.Constant, chance: random.Random) -> None:
    node.value += chance.choice((-1, 1))


def _swap_comparison(node: ast.Compare, chance: random.Random) -> None:
    index = chance.randrange(len(node.ops))
    node.ops[index] = _COMPARISONS[type(node.ops[index])]()


def _swap_operator(node: ast.BinOp | ast.AugAssign, chance: random.Random) -> None:
    del chance
    node.op = _OPERATORS[type(node.op)]()


def _forget_name(node: ast.Name, chance: random.Random) -> None:
    del chance
    node.id += "_forgotten"


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """The bodies of functions and of the statements within them."""
    for function in _places(tree, ast.FunctionDef, lambda node: True):
        for node in ast.walk(function):
            for field in ("body", "orelse", "finalbody"):
                if isinstance(block := getattr(node, field, None), list):
                    yield block


def _drop(droppable: Callable[[ast.stmt], bool]) -> Mutate:
    """Replaces one statement by ``pass``."""

    def mutate(original: Original, chance: random.Random) -> str | None:
        tree = copy.deepcopy(original.tree)
        places = [
            (block, index)
            for block in _blocks(tree)
            for index, statement in enumerate(block)
            if droppable(statement)
        ]
        if not places:
            return None
        block, index = chance.choice(places)
        block[index] = ast.Pass()
        return ast.unparse(ast.fix_missing_locations(tree))

    return mutate


def _is_step(statement: ast.stmt) -> bool:
    documentation = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return not isinstance(statement, _KEPT) and not documentation


def _insert(*sources: str) -> Mutate:
    """Puts one of some statements at one place of the function asked for."""

    def mutate(original: Original, chance: random.Random) -> str | None:
        tree = copy.deepcopy(original.tree)
        name = original.task.entry_point
        functions = _places(tree, ast.FunctionDef, lambda node: node.name == name)
        if not functions:
            return None
        block = chance.choice(list(_blocks(functions[-1])))
        index = chance.randint(0, len(block))
        block[index:index] = ast.parse(chance.choice(sources)).body
        return ast.unparse(ast.fix_missing_locations(tree))

    return mutate


def _break_syntax(original: Original, chance: random.Random) -> str | None:
    text = ast.unparse(original.tree)
    for _ in range(100):
        at = chance.randrange(len(text))
        broken = text[:at] + chance.choice(("", "(", ")", ":", "\n")) + text[at + 1 :]
        try:
            ast.parse(broken)
        except SyntaxError:
            return broken
    return None


def _wrap(original: Original, before: str = "", after: str = "", result: str = "result") -> str:
    return ast.unparse(original.tree) + _WRAPPED.format(
        name=original.task.entry_point,
        before=before or "pass",
        after=after or "pass",
        result=result,
    )


def _outputs(original: Original) -> list[Any]:
    return [case.expected for suite in original.task.suites.values() for case in suite.cases]


def _convert(original: Original, chance: random.Random) -> str | None:
    kinds = [type(value) for value in _outputs(original) if type(value) in _CONVERSIONS]
    if not kinds:
        return None
    return _wrap(original, result=chance.choice(_CONVERSIONS[chance.choice(kinds)]))


def _nudge(*sizes: str) -> Mutate:
    """Moves every float of the output."""

    def mutate(original: Original, chance: random.Random) -> str | None:
        for value in _outputs(original):
            items = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(item, float) for item in items):
                return _wrap(original, result=_NUDGED.format(by=chance.choice(sizes)))
        return None

    return mutate


def _change_argument(original: Original, chance: random.Random) -> str | None:
    cases = original.task.suites["base"].cases
    lists = [
        index
        for index, argument in enumerate(cases[0].arguments)
        if all(isinstance(case.arguments[index], list) for case in cases)
    ]
    if not lists:
        return None
    change = chance.choice(("reverse()", "clear()", "append(arguments)")).join(
        (f"arguments[{chance.choice(lists)}].", "")
    )
    return _wrap(original, **{chance.choice(("before", "after")): change})


FAULTS: dict[str, Mutate] = {
    "constant": _at_one_place(ast.Constant, lambda node: type(node.value) is int, _off_by_one),
    "comparison": _at_one_place(ast.Compare, lambda node: True, _swap_comparison),
    "operator": _at_one_place(
        ast.BinOp | ast.AugAssign, lambda node: type(node.op) in _OPERATORS, _swap_operator
    ),
    "statement": _drop(_is_step),
    "return": _drop(lambda statement: isinstance(statement, ast.Return)),
    "type": _convert,
    "name": _at_one_place(ast.Name, lambda node: isinstance(node.ctx, ast.Load), _forget_name),
    "syntax": _break_syntax,
    "exception": _insert("raise ValueError('wrong')", "assert False", "[].pop()", "1 / 0"),
    "float near": _nudge("+ 4e-7", "- 4e-7", "* (1 + 4e-8)"),
    "float far": _nudge("+ 3e-4", "* 1.001", "+ 1"),
    "argument": _change_argument,
    "exit": _insert("raise SystemExit(0)", "exit()", "import os\nos._exit(0)"),
    "memory": _insert("bytearray(1 << 40)", "[0] * (1 << 40)"),
    "slow": _insert(
        "import time\nstart = time.process_time()\nwhile time.process_time() - start < 3: pass",
    ),
    "endless": _insert("while True: pass"),
}
"""What is done to a right program, by the name of the fault."""


def make_mutants(
    originals: Iterable[Original], per_task: int, seed: int
) -> Iterator[dict[str, str]]:
    """Rows with ``task_id``, ``solution`` and ``fault``.

    Args:
      originals: right programs.
      per_task: faulty ones to make of each, of as many kinds; always those made least of so far.
      seed: of the choices.
    """
    made: Counter[str] = Counter()
    for original in originals:
        chance = random.Random(f"{seed}/{original.task.task_id}")
        kinds = chance.sample(list(FAULTS), len(FAULTS))
        left = per_task
        for fault in sorted(kinds, key=lambda kind: made[kind]):
            if left and (solution := FAULTS[fault](original, chance)) is not None:
                made[fault] += 1
                left -= 1
                yield {"task_id": original.task.task_id, "solution": solution, "fault": fault}


async def read_originals(benchmark: str, sandbox: Sandbox) -> list[Original]:
    """The canonical solutions of a benchmark, ``humaneval`` or ``mbpp``."""
    tasks = (await load_benchmark(benchmark, sandbox)).tasks
    problems = evalplus.read_problems(benchmark, evalplus.data_file(benchmark))
    return [
        Original(task, ast.parse(problem.prompt + problem.canonical_solution))
        for task, problem in zip(tasks, problems, strict=True)
    ]


def main() -> None:
    """Writes the file."""
    values = flags.FLAGS
    sandbox = Sandbox(Limits(cpu_seconds=600.0), packages=["numpy"])
    originals = [
        original
        for benchmark in evalplus.OVERRIDES
        for original in asyncio.run(read_originals(benchmark, sandbox))
    ]
    rows = list(make_mutants(originals, values.per_task, values.seed))
    write_rows(Path(values.output), rows)
    counts = Counter(row["fault"] for row in rows)
    print(f"{len(rows)} programs of {len(originals)} tasks in {values.output}")
    for fault in FAULTS:
        print(f"{fault:12}{counts[fault]:6}")


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "The samples file to write.", required=True)
    flags.DEFINE_integer("per_task", 3, "Faulty programs of each task.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the choices.")
    run(main)
