"""Our verdicts beside EvalPlus 0.3.1's own, on the programs of a samples file, in one run.

    python -m benchmarks.mutants --output=mutants.jsonl
    python -m benchmarks.parity --samples=mutants.jsonl --workdir=runs/parity

HUMANEVAL_OVERRIDE_PATH and MBPP_OVERRIDE_PATH name EvalPlus's files. Prints for each kind of fault
how many programs we let pass, base and plus, on how many EvalPlus differs, and on how many still
where it judges those again, with nothing else to do and `--patience` times its limits of time; then
each difference. Exits with 1 where one is left.
EvalPlus executes the programs by itself, in forks: give it none that you have not made. Its
verdicts are made once for a workdir, and once more there for each `--patience`.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.evalplus_peer import results_file
from ocijax.errors import InputError
from ocijax.json_lines import read_rows, write_rows
from ocijax.judge import evalplus
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.judge.checker import check
from ocijax.judge.task import Task
from ocijax.program import run
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import Sandbox

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """What both say of a program: status of base and of plus.

    Attributes:
      row: of the samples file.
      ours: our statuses, by suite.
      theirs: EvalPlus's.
      again: EvalPlus's with more time, where they differ.
    """

    row: Row
    ours: dict[str, str]
    theirs: dict[str, str]
    again: dict[str, str] | None = None

    @property
    def fault(self) -> str:
        """Its kind."""
        return self.row.get("fault", "")

    @property
    def differ(self) -> bool:
        """Whether one lets pass what the other does not: base, or base and plus."""
        return passed(self.ours) != passed(self.theirs)

    @property
    def still_differ(self) -> bool:
        """The same, with more time."""
        return self.again is not None and passed(self.ours) != passed(self.again)


def passed(statuses: dict[str, str]) -> tuple[bool, bool]:
    """Base, and base and plus."""
    base = statuses["base"] == "pass"
    return base, base and statuses["plus"] == "pass"


async def judge_ours(sandbox: Sandbox, tasks: dict[str, Task], rows: list[Row]) -> list[Row]:
    """Our statuses for each row."""
    at_once = asyncio.Semaphore(2 * sandbox.concurrency)

    async def judge(row: Row) -> dict[str, str]:
        async with at_once:
            verdict = await check(sandbox, tasks[row["task_id"]], row["solution"])
        return {name: suite.status for name, suite in verdict.suites.items()}

    return await asyncio.gather(*map(judge, rows))


def judge_theirs(
    benchmark: str, rows: list[Row], workdir: Path, file: Path, patience: float = 1.0
) -> list[Row]:
    """EvalPlus's statuses for each row, given the file of problems and times its time limits.

    Raises:
      InputError: EvalPlus fails.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    samples, problems = workdir / f"{benchmark}.jsonl", workdir / f"{benchmark}-problems.jsonl"
    results = results_file(samples)
    if not results.exists():
        write_rows(samples, rows)
        wanted = {row["task_id"] for row in rows}  # it refuses to run without a program for each
        every = read_rows(file, lambda row, number: row)
        write_rows(problems, [row for row in every if row["task_id"] in wanted])
        command = [sys.executable, "-m", "benchmarks.evalplus_peer", f"--patience={patience}"]
        command += [f"--benchmark={benchmark}", f"--samples={samples}"]
        environment = os.environ | {evalplus.OVERRIDES[benchmark]: str(problems)}
        log = workdir / f"{benchmark}.log"
        with open(log, "wb") as output:
            ended = subprocess.run(command, env=environment, stdout=output, stderr=output)
        if ended.returncode or not results.exists():
            raise InputError(f"{log}: EvalPlus failed with status {ended.returncode}")
    found: dict[str, list[Row]] = json.loads(results.read_text())["eval"]
    known = {
        (one["task_id"], one["solution"]): {
            suite: one[f"{suite}_status"] for suite in ("base", "plus")
        }
        for verdicts in found.values()
        for one in verdicts
    }
    try:
        return [known[row["task_id"], row["solution"]] for row in rows]
    except KeyError as error:
        raise InputError(f"--workdir={workdir}: has verdicts on other programs") from error


def compare(
    benchmark: Benchmark, rows: list[Row], sandbox: Sandbox, workdir: Path, patience: float
) -> list[Judged]:
    """Both verdicts on a benchmark's rows."""
    file = evalplus.data_file(benchmark.name)
    tasks = {task.task_id: task for task in benchmark.tasks}
    rows = [row for row in rows if row["task_id"] in tasks]
    if not rows:
        return []
    theirs = judge_theirs(benchmark.name, rows, workdir, file)
    ours = asyncio.run(judge_ours(sandbox, tasks, rows))
    judged = [Judged(*one) for one in zip(rows, ours, theirs, strict=True)]
    differing = [one.row for one in judged if one.differ]
    if not differing:
        return judged
    slower = workdir / f"again-{patience:g}"
    again = iter(judge_theirs(benchmark.name, differing, slower, file, patience))
    return [replace(one, again=next(again)) if one.differ else one for one in judged]


def print_table(judged: list[Judged]) -> None:
    """A row for each kind of fault, and one for all."""
    kinds: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        kinds[one.fault].append(one)
    print(
        f"{'fault':12}{'programs':>10}{'pass base':>11}{'pass plus':>11}{'differ':>8}{'still':>7}"
    )
    for kind, group in (*sorted(kinds.items()), ("all", judged)):
        base, plus = (
            sum(column) for column in zip(*(passed(one.ours) for one in group), strict=True)
        )
        differ, still = sum(one.differ for one in group), sum(one.still_differ for one in group)
        print(f"{kind:12}{len(group):10}{base:11}{plus:11}{differ:8}{still:7}")


def main() -> int:
    """Prints the table and the differences."""
    values = flags.FLAGS
    workdir = Path(values.workdir)
    rows = read_rows(values.samples, lambda row, number: row)
    sandbox = Sandbox(Limits(cpu_seconds=600.0), packages=["numpy"])
    judged: list[Judged] = []
    for name in evalplus.OVERRIDES:
        benchmark = asyncio.run(load_benchmark(name, sandbox))
        judged += compare(benchmark, rows, sandbox, workdir, values.patience)
    print_table(judged)
    for one in judged:
        if one.differ:
            print(
                f"{one.row['task_id']}, {one.fault}: ours {one.ours}, EvalPlus's {one.theirs},"
                f" with more time {one.again}"
            )
    return int(any(one.still_differ for one in judged))


if __name__ == "__main__":
    flags.DEFINE_string("samples", None, "The programs (JSONL).", required=True)
    flags.DEFINE_string("workdir", None, "Folder for EvalPlus's verdicts.", required=True)
    flags.DEFINE_float("patience", 10.0, "Times EvalPlus's limits, for those that differ.", 1.0)
    run(main)
