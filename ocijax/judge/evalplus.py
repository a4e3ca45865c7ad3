"""HumanEval+ and MBPP+ from EvalPlus's own files, their expected outputs computed here.

The files are those that EvalPlus's override variables name, ``HUMANEVAL_OVERRIDE_PATH`` and
``MBPP_OVERRIDE_PATH``; where they are not set, the evalplus package (the ``eval`` extra) downloads
them. Expected outputs are what the canonical solutions give in our sandbox.
"""

import asyncio
import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows
from ocijax.judge.compare import EVALPLUS_ORACLES
from ocijax.judge.prompt_tests import prompt_tests
from ocijax.judge.reference import Reference
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.prompts.prompts import turns
from ocijax.sandbox.sandbox import Sandbox

OVERRIDES = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}
"""Environment variables that name the files, as EvalPlus 0.3.1 reads them."""


@dataclass(frozen=True)
class Problem:
    """One row of EvalPlus's file.

    Attributes:
      task_id: ``HumanEval/0``, ``Mbpp/2`` and so on.
      prompt: of HumanEval the function's head, of MBPP a docstring.
      entry_point: the function.
      canonical_solution: goes on from the prompt.
      base: arguments of the benchmark's own tests.
      plus: arguments of EvalPlus's further tests.
      atol: tolerance of the comparison.
    """

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base: tuple[tuple[Any, ...], ...]
    plus: tuple[tuple[Any, ...], ...]
    atol: float


def data_file(benchmark: str) -> Path:
    """The benchmark's file.

    Raises:
      InputError: no override variable names one, and evalplus is not there to fetch it.
    """
    variable = OVERRIDES[benchmark]
    if path := os.environ.get(variable):
        if not Path(path).is_file():
            raise InputError(f"{variable}={path}: there is no such file")
        return Path(path)
    try:
        from evalplus.data import humaneval, mbpp
    except ImportError:
        raise InputError(
            f"benchmark {benchmark}: set {variable} to EvalPlus's .jsonl or .jsonl.gz file, or"
            " install the eval extra to download it: pip install 'ocijax[eval]'"
        ) from None
    fetch = {
        "humaneval": humaneval._ready_human_eval_plus_path,
        "mbpp": mbpp._ready_mbpp_plus_path,
    }
    try:
        return Path(fetch[benchmark]())
    except OSError as error:
        raise InputError(
            f"benchmark {benchmark}: evalplus cannot download it ({error}); set {variable} to the"
            " file"
        ) from error


def read_problems(benchmark: str, path: Path) -> list[Problem]:
    """The problems of EvalPlus's file, with arguments of the types that they were written with.

    Raises:
      InputError: the file cannot be read or has malformed rows.
    """

    def parse(row: Any, number: int) -> Problem:
        del number
        try:
            arguments = [
                _typed(benchmark, row["task_id"], inputs)
                for inputs in (row["base_input"], row["plus_input"] or [])
            ]
            return Problem(
                row["task_id"],
                row["prompt"],
                row["entry_point"],
                row["canonical_solution"],
                *(tuple(map(tuple, inputs)) for inputs in arguments),
                float(row["atol"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(f"not a row of EvalPlus: {error!r}") from error

    return read_rows(path, parse)


def file_digest(path: Path) -> str:
    """MD5 of the file's bytes, unpacked: what EvalPlus's published results carry.

    Raises:
      InputError: the file cannot be read.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot read it: {error}") from error


async def make_tasks(
    benchmark: str,
    problems: Sequence[Problem],
    version: str,
    sandbox: Sandbox,
    observe: Callable[[], None] = lambda: None,
) -> list[Task]:
    """The tasks of the problems, with expected outputs and public tests.

    Args:
      benchmark: ``humaneval`` or ``mbpp``.
      problems: those wanted.
      version: what `file_digest` gives, under which outputs are kept.
      sandbox: runs the canonical solutions, where their outputs are not known yet.
      observe: called as each problem is done.

    Raises:
      InputError: a canonical solution fails: the file is damaged, or the limits are too low.
    """

    async def make(problem: Problem) -> Task:
        task = await _make_task(benchmark, problem, version, sandbox)
        observe()
        return task

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(make(problem)) for problem in problems]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _make_task(benchmark: str, problem: Problem, version: str, sandbox: Sandbox) -> Task:
    program = problem.prompt + problem.canonical_solution
    reference = Reference(sandbox, program, problem.entry_point, version, problem.task_id)
    inputs = problem.base + problem.plus
    outputs, seconds = await reference.outputs(inputs)
    oracle = EVALPLUS_ORACLES[benchmark].get(problem.entry_point, "equal")
    if oracle == "not_none":
        outputs = [output is not None for output in outputs]
    cases = tuple(map(TestCase, inputs, outputs))
    base = len(problem.base)
    shown = prompt_tests(problem.prompt, problem.entry_point)
    return Task(
        task_id=problem.task_id,
        instruction=turns().first_turn(benchmark, "", problem.prompt),
        entry_point=problem.entry_point,
        prompt=problem.prompt,
        public_tests=tuple(await reference.holding(shown, oracle, problem.atol)),
        suites={
            "base": Suite(cases[:base], problem.atol, oracle, seconds[:base]),
            "plus": Suite(cases[base:], problem.atol, oracle, seconds[base:]),
        },
        metadata={"solution": program},
    )


# JSON has neither tuples, sets nor complex numbers. Where MBPP's arguments are such (EvalPlus
# 0.3.1, evalplus/data/mbpp.py): by number, the argument (None: each) and the depths of its tuples,
# 1 being the argument itself; no depths: every one.
_TUPLES: dict[int, tuple[int | None, tuple[int, ...]]] = {
    **dict.fromkeys(
        (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630),
        (None, (1,)),
    ),
    **dict.fromkeys((726, 740, 744, 809), (None, (1,))),
    **dict.fromkeys(
        (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), (None, (2,))
    ),
    **dict.fromkeys((75, 413, 444, 753), (0, (2,))),
    **dict.fromkeys((106, 750), (1, (1,))),
    **dict.fromkeys((250, 307, 405, 446, 617, 720, 763, 808), (0, (1,))),
    **dict.fromkeys((259, 278, 401, 445), (None, (1, 2))),
    **dict.fromkeys((580, 615, 791), (None, ())),
}

_OTHER_TYPES: dict[int, Callable[..., Sequence[Any]]] = {
    115: lambda items: [[set(item) if isinstance(item, list) and item else {} for item in items]],
    124: lambda one, other: [float(one), complex(other)],
    252: lambda number: [complex(number)],
    722: lambda table, *rest: [{key: tuple(value) for key, value in table.items()}, *rest],
}


def _typed(benchmark: str, task_id: str, inputs: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The arguments of every test, with the types that JSON could not hold."""
    number = int(task_id.split("/")[-1])
    if benchmark == "mbpp" and number in _OTHER_TYPES:
        return [_OTHER_TYPES[number](*arguments) for arguments in inputs]
    if benchmark == "mbpp" and number in _TUPLES:
        which, depths = _TUPLES[number]
        return [
            [
                _with_tuples(argument, 1, depths) if which in (None, index) else argument
                for index, argument in enumerate(arguments)
            ]
            for arguments in inputs
        ]
    return list(inputs)


def _with_tuples(value: Any, depth: int, depths: tuple[int, ...]) -> Any:
    if not isinstance(value, list):
        return value
    items = [_with_tuples(item, depth + 1, depths) for item in value]
    return tuple(items) if not depths or depth in depths else items
