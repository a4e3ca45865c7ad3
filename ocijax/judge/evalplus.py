"""HumanEval+ and MBPP+ from EvalPlus's own files, their expected outputs computed here.

The files are those that EvalPlus's override variables name, ``HUMANEVAL_OVERRIDE_PATH`` and
``MBPP_OVERRIDE_PATH``; where they are not set, the evalplus package (the ``eval`` extra) downloads
them. Expected outputs are what the canonical solutions give in our sandbox; they are kept in
``$OCIJAX_CACHE`` (``~/.cache/ocijax`` by default), by the hash of the file.
"""

import asyncio
import gzip
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.json_lines import read_rows
from ocijax.judge.compare import EVALPLUS_ORACLES, is_right
from ocijax.judge.prompt_tests import prompt_tests
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.sandbox.encoding import EncodingError, decode, digest, encode
from ocijax.sandbox.sandbox import Sandbox

OVERRIDES = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}
"""Environment variables that name the files, as EvalPlus 0.3.1 reads them."""

INSTRUCTIONS = {
    "humaneval": (
        "Complete this Python function. Answer with the whole program, imports included, in one"
        " Python code block.\n\n```python\n{prompt}\n```"
    ),
    "mbpp": (
        "Solve this task in Python. Answer with the whole program, imports included, in one"
        " Python code block.\n\n{prompt}"
    ),
}
"""The user turn of a task, by benchmark."""

# A longer output is compared by its digest: all of HumanEval+'s would take more than a gigabyte.
_LARGEST_KEPT = 1 << 20
_SECONDS_FOR_REFERENCE = 300.0


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
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"not a row of EvalPlus: {error!r}") from error

    return read_rows(path, parse)


def file_digest(path: Path) -> str:
    """MD5 of the file's bytes, unpacked: what EvalPlus's published results carry."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


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

    return list(await asyncio.gather(*map(make, problems)))


async def _make_task(benchmark: str, problem: Problem, version: str, sandbox: Sandbox) -> Task:
    shown = prompt_tests(problem.prompt, problem.entry_point)
    inputs = [*(test.arguments for test in shown), *problem.base, *problem.plus]
    outputs, seconds = await _reference(problem, inputs, version, sandbox)
    oracle = EVALPLUS_ORACLES[benchmark].get(problem.entry_point, "equal")
    if oracle == "not_none":
        outputs = [output is not None for output in outputs]
    ends = [len(shown), len(shown) + len(problem.base), len(inputs)]

    def suite(start: int, end: int) -> Suite:
        cases = map(TestCase, inputs[start:end], outputs[start:end])
        return Suite(tuple(cases), problem.atol, oracle, tuple(seconds[start:end]))

    base = suite(ends[0], ends[1])
    prompt = problem.prompt
    if benchmark == "mbpp":
        prompt = prompt.strip().removeprefix('"""').removesuffix('"""')
    return Task(
        task_id=problem.task_id,
        instruction=INSTRUCTIONS[benchmark].format(prompt=prompt.strip("\n")),
        entry_point=problem.entry_point,
        prompt=problem.prompt,
        public_tests=tuple(
            test
            for test, output in zip(shown, outputs, strict=False)
            if oracle != "not_none" and is_right(base, test, output)
        ),
        suites={"base": base, "plus": suite(ends[1], ends[2])},
    )


async def _reference(
    problem: Problem, inputs: Sequence[tuple[Any, ...]], version: str, sandbox: Sandbox
) -> tuple[list[Any], list[float]]:
    """What the canonical solution gives for each input, and how long it takes, in seconds."""
    root = Path(os.environ.get("OCIJAX_CACHE") or Path.home() / ".cache" / "ocijax")
    path = root / "reference" / version / f"{problem.task_id.replace('/', '-')}.bin"
    if path.exists():
        try:
            outputs, seconds = decode(path.read_bytes())
        except EncodingError as error:
            raise InputError(f"{path}: damaged; remove it") from error
        # Another version of ours may read other tests out of the prompt.
        if len(outputs) == len(inputs):
            return outputs, seconds
    result = await sandbox.call(
        problem.prompt + problem.canonical_solution,
        problem.entry_point,
        inputs,
        wall_seconds=_SECONDS_FOR_REFERENCE,
        stop=lambda index, outcome: outcome.status != "ok",
    )
    outcomes = [result.load, *result.outcomes]
    if outcomes[-1].status != "ok" or len(result.outcomes) < len(inputs):
        raise InputError(
            f"{problem.task_id}: its canonical solution fails ({outcomes[-1].status}: "
            f"{outcomes[-1].error.strip()[-200:]!r}); the file is damaged or the limits too low"
        )
    outputs = [_kept(outcome.value) for outcome in result.outcomes]
    seconds = [outcome.wall_seconds for outcome in result.outcomes]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(encode((outputs, seconds)))
    unfinished.rename(path)
    return outputs, seconds


def _kept(output: Any) -> Any:
    """The output, or its digest where it is large."""
    return digest(output) if len(encode(output)) > _LARGEST_KEPT else output


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
