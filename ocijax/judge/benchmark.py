"""Benchmarks by name or file."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.judge import evalplus
from ocijax.judge.task import Task, read_tasks
from ocijax.sandbox.languages import PYTHON, find
from ocijax.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Benchmark:
    """Tasks and where they come from.

    Attributes:
      name: ``humaneval``, ``mbpp``, or the file's name without its ending; with it where that
        would be one of those two.
      plus: what the base and plus tests together are called; ``None`` where there is no plus.
      version: MD5 of the file, unpacked, as EvalPlus's published results carry it.
      tasks: those selected, in the file's order.
      part: which, where several hosts share them.
    """

    name: str
    plus: str | None
    version: str
    tasks: Sequence[Task] = field(repr=False)  # asyncio prints results of tasks: all their tests
    part: str = ""

    def share(self, host: int, hosts: int) -> "Benchmark":
        """What is left of it for one of several hosts, which are numbered from 0."""
        if hosts == 1:
            return self
        return replace(self, tasks=self.tasks[host::hosts], part=f"{host} of {hosts}")


async def load_benchmark(
    name: str,
    sandbox: Sandbox,
    tasks: int | Sequence[str] | None = None,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> Benchmark:
    """A benchmark, or the part of it that is wanted; nothing is computed for the rest.

    Args:
      name: ``humaneval``, ``mbpp``, or a file of tasks (see `ocijax.judge.task`).
      sandbox: runs canonical solutions whose outputs are not known yet.
      tasks: the first so many, or those of these ids; all by default.
      observe: told how many tasks are ready, of how many.

    Raises:
      InputError: there is no such benchmark, file or task, the file is malformed, or a task is in
        a language whose tools are not on this host.
    """
    if name in evalplus.OVERRIDES:
        path = evalplus.data_file(name)
        version = evalplus.file_digest(path)
        with _nothing_is_garbage():
            problems = _selected(evalplus.read_problems(name, path), tasks, path)
            ready = 0

            def count() -> None:
                nonlocal ready
                ready += 1
                observe(ready, len(problems))

            made = await evalplus.make_tasks(name, problems, version, sandbox, count)
        return Benchmark(name, f"{name}+", version, made)
    path = Path(name)
    if not path.is_file():
        known = ", ".join(evalplus.OVERRIDES)
        raise InputError(f"benchmark {name!r}: neither one of {known} nor a file of tasks")
    chosen = _selected(read_tasks(path), tasks, path)
    _check_languages(chosen, path)
    # By the name of one of EvalPlus's it would be asked and reported as if it were that.
    called = path.name if path.stem in evalplus.OVERRIDES else path.stem
    plus = called + "+" if any("plus" in task.suites for task in chosen) else None
    return Benchmark(called, plus, evalplus.file_digest(path), chosen)


@contextlib.contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Spares the collector millions of inputs and outputs, while they are made and ever after."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collected:
            gc.enable()


def _check_languages(tasks: Sequence[Task], path: Path) -> None:
    """Refuses tasks whose programs could not be run here, before a model is asked for any."""
    for language, task_id in {task.language: task.task_id for task in reversed(tasks)}.items():
        if language != PYTHON:
            try:
                find(language)
            except InputError as error:
                raise InputError(f"{path}: task {task_id!r}: {error}") from error


def _selected(items: Sequence[Any], wanted: int | Sequence[str] | None, path: Path) -> list[Any]:
    """The first ``wanted`` items, or those of these ids, in the order of the file."""
    if not items:
        raise InputError(f"{path}: has no tasks")
    if wanted is None:
        return list(items)
    if isinstance(wanted, int):
        if wanted < 1:
            raise InputError(f"{wanted} tasks of {path}: ask for at least 1")
        return list(items[:wanted])
    known = {item.task_id for item in items}
    if missing := [identifier for identifier in wanted if identifier not in known]:
        nearest = get_close_matches(missing[0], known, 1, 0.0)
        raise InputError(f"{path}: has no task {missing[0]!r}; the nearest is {nearest[0]!r}")
    chosen = set(wanted)
    return [item for item in items if item.task_id in chosen]
