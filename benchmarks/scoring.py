"""Time and memory of scoring one sample for each task, beside EvalPlus 0.3.1, in the same run.

    python -m benchmarks.scoring --workdir=runs/scoring

HUMANEVAL_OVERRIDE_PATH and MBPP_OVERRIDE_PATH name EvalPlus's files. The samples are the canonical
solutions. Both sides use every core and find what the solutions give computed already: what is not
in WORKDIR yet is computed first, unmeasured. Memory is the most that all processes of a side held
at once, what they share counted once; as to look at it takes time, that is a run of its own. The
load is that of the machine before each.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from benchmarks.evalplus_peer import results_file
from ocijax.errors import InputError
from ocijax.json_lines import write_rows
from ocijax.judge import evalplus
from ocijax.program import run

_EVERY = 0.25


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
      seconds: by the clock.
      peak_bytes: the most that it and its descendants held at once.
      load: of the machine, before.
    """

    seconds: float
    peak_bytes: int
    load: float


def measure(
    command: list[str],
    environment: dict[str, str],
    log: Path,
    begin_again: Callable[[], None],
) -> Cost:
    """Runs a command to its end, twice: for its time, then for its memory.

    Args:
      command: what Python is to run.
      environment: its variables.
      log: gets what it prints.
      begin_again: called before each, has it do all of its work.

    Raises:
      InputError: it fails.
    """
    load = os.getloadavg()[0]
    begin_again()
    begin = time.perf_counter()
    _run(command, environment, log, subprocess.Popen.wait)
    seconds = time.perf_counter() - begin
    peak = 0

    def watch(process: subprocess.Popen) -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(map(_resident, _family(process.pid))))
            time.sleep(_EVERY)

    begin_again()
    _run(command, environment, log, watch)
    return Cost(seconds, peak, load)


def _run(
    command: list[str],
    environment: dict[str, str],
    log: Path,
    until_end: Callable[[subprocess.Popen], object],
) -> None:
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=output, stderr=output
        )
        until_end(process)
    if process.returncode:
        raise InputError(f"{log}: {command[1]} failed with status {process.returncode}")


def _family(process: int) -> Iterator[int]:
    """It and all its descendants."""
    yield process
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):
            for child in Path(f"/proc/{process}/task/{task}/children").read_text().split():
                yield from _family(int(child))


def _resident(process: int) -> int:
    """Bytes in memory, its part of what it shares."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def score(benchmark: str, workdir: Path) -> dict[str, Cost]:
    """The costs of both sides, theirs and ours."""
    samples = workdir / f"{benchmark}.jsonl"
    problems = evalplus.read_problems(benchmark, evalplus.data_file(benchmark))
    write_rows(
        samples,
        [
            {"task_id": one.task_id, "solution": one.prompt + one.canonical_solution}
            for one in problems
        ],
    )
    what = [f"--samples={samples}", f"--benchmark={benchmark}"]
    ours = workdir / f"{benchmark}-ours"
    commands = {
        "evalplus": ["-m", "benchmarks.evalplus_peer", *what],
        "ocijax": ["-m", "eval.run", *what, f"--workdir={ours}"],
    }
    environment = os.environ | {
        "XDG_CACHE_HOME": str(workdir / "evalplus-cache"),
        "OCIJAX_CACHE": str(workdir / "ocijax-cache"),
    }

    def begin_again() -> None:
        shutil.rmtree(ours, ignore_errors=True)
        results_file(samples).unlink(missing_ok=True)

    costs = {}
    for side, command in commands.items():
        log, known = (workdir / f"{benchmark}-{side}.{end}" for end in ("log", "known"))
        if not known.exists():
            begin_again()
            _run(command, environment, log, subprocess.Popen.wait)
            known.touch()
        costs[side] = measure(command, environment, log, begin_again)
    return costs


def main() -> None:
    """Prints the table."""
    values = flags.FLAGS
    workdir = Path(values.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores")
    print(f"{'':12}{'':10}{'seconds':>9}{'GB':>7}{'load before':>13}")
    for benchmark in values.benchmarks:
        costs = score(benchmark, workdir)
        for side, cost in costs.items():
            print(
                f"{benchmark:12}{side:10}{cost.seconds:9.1f}{cost.peak_bytes / 1e9:7.2f}"
                f"{cost.load:13.1f}",
                flush=True,
            )
        theirs, ours = costs["evalplus"], costs["ocijax"]
        seconds, memory = ours.seconds / theirs.seconds, ours.peak_bytes / theirs.peak_bytes
        print(f"{'':12}{'ratio':10}{seconds:9.2f}{memory:7.2f}", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder for samples, caches and logs.", required=True)
    flags.DEFINE_list("benchmarks", list(evalplus.OVERRIDES), "Which of them.")
    run(main)
