"""Our verdicts beside EvalPlus's own, on canonical solutions with one fault each.

    export HUMANEVAL_OVERRIDE_PATH=HumanEvalPlus.jsonl MBPP_OVERRIDE_PATH=MbppPlus.jsonl
    python -m benchmarks.parity --each=80

Programs are those of `benchmarks.mutants`; EvalPlus judges them by ``untrusted_check``, as its
``evaluate`` does, with its own expected outputs. A line tells each that is judged otherwise. The
exit status is 1 where that happens to a program that ends within EvalPlus's limits, but for
HumanEval/32, which EvalPlus 0.3.1 lets nothing pass. Its limits are of the clock, so a program that
it judges otherwise is judged by it again, twice at most. EvalPlus wants its files unpacked.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from tqdm import tqdm

from benchmarks.mutants import EACH, FAULTS, SEED, all_mutants
from ocijax.errors import InputError
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.checker import Verdict, check
from ocijax.judge.evalplus import OVERRIDES
from ocijax.program import run
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import Sandbox

BENCHMARKS = flags.DEFINE_list("benchmarks", list(OVERRIDES), "Which.")

# What EvalPlus lets a program use.
_LIMITS = Limits(cpu_seconds=600.0, memory_bytes=4 << 30)

_TIMES = 3
"""EvalPlus limits the clock: on a busy machine right programs fail now and then."""

_NEVER_PASSES = "HumanEval/32"


def ours(benchmark: str, rows: Sequence[Mapping[str, str]]) -> list[Verdict]:
    """Our verdicts."""
    sandbox = Sandbox(_LIMITS, packages=["numpy"])

    async def judge() -> list[Verdict]:
        loaded = await load_benchmark(benchmark, sandbox, sorted({row["task_id"] for row in rows}))
        tasks = {task.task_id: task for task in loaded.tasks}
        at_once = asyncio.Semaphore(2 * len(os.sched_getaffinity(0)))
        with tqdm(total=len(rows), desc=f"{benchmark}, ours", dynamic_ncols=True) as bar:

            async def one(row: Mapping[str, str]) -> Verdict:
                async with at_once:
                    verdict = await check(sandbox, tasks[row["task_id"]], row["solution"])
                bar.update()
                return verdict

            return await asyncio.gather(*map(one, rows))

    return asyncio.run(judge())


class EvalPlus:
    """EvalPlus 0.3.1's verdicts on programs for one benchmark.

    Raises:
      InputError: evalplus is not installed.
    """

    def __init__(self, benchmark: str):
        try:
            from evalplus.data.humaneval import get_human_eval_plus
            from evalplus.data.mbpp import get_mbpp_plus
        except ImportError as error:
            raise InputError(
                f"evalplus cannot be imported ({error}): pip install 'ocijax[eval]'"
            ) from error
        self._benchmark = benchmark
        get = {"humaneval": get_human_eval_plus, "mbpp": get_mbpp_plus}
        self._problems = get[benchmark]()
        self._expected: dict[str, dict[str, Any]] = {}

    def judge(self, row: Mapping[str, str]) -> dict[str, str]:
        """``pass``, ``fail`` or ``timeout`` for base and plus."""
        from evalplus.eval import untrusted_check

        problem = self._problems[row["task_id"]]
        expected = self._expect(row["task_id"])
        verdict = {}
        for suite in ("base", "plus"):
            outputs, seconds = expected[suite]
            verdict[suite], _ = untrusted_check(
                self._benchmark,
                row["solution"],
                problem[f"{suite}_input"],
                problem["entry_point"],
                expected=outputs,
                atol=problem["atol"],
                ref_time=seconds,
                fast_check=True,
            )
            if verdict[suite] != "pass":
                return {"plus": "untested"} | verdict
        return verdict

    def _expect(self, task_id: str) -> dict[str, Any]:
        from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
        from evalplus.gen.util import trusted_exec

        if task_id not in self._expected:
            problem = self._problems[task_id]
            self._expected[task_id] = {
                suite: trusted_exec(
                    problem["prompt"] + problem["canonical_solution"],
                    problem[f"{suite}_input"],
                    problem["entry_point"],
                    record_time=True,
                    output_not_none=problem["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS,
                )
                for suite in ("base", "plus")
            }
        return self._expected[task_id]


def main() -> int:
    """Judges by both and prints the table; returns the exit status."""
    alike: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    others: Counter[str] = Counter()
    unexplained = 0
    for benchmark, rows in all_mutants(EACH.value, SEED.value).items():
        if benchmark not in BENCHMARKS.value:
            continue
        theirs = EvalPlus(benchmark)
        judged = zip(rows, ours(benchmark, rows), strict=True)
        for row, verdict in tqdm(judged, f"{benchmark}, EvalPlus", len(rows), dynamic_ncols=True):
            mine = verdict.passed_base, bool(verdict.passed_plus)
            for _ in range(_TIMES):
                found = theirs.judge(row)
                told = found["base"] == "pass", found["plus"] == "pass"
                if mine == told:
                    break
            fault = row["fault"]
            passed[fault] += mine[1]
            if mine == told:
                alike[fault] += 1
                continue
            others[fault] += 1
            status = {name: suite.status for name, suite in verdict.suites.items()}
            print(f"{row['task_id']}, {fault}: {status} here, {found} by EvalPlus", flush=True)
            ended = "timeout" not in (*found.values(), *status.values())
            unexplained += ended and row["task_id"] != _NEVER_PASSES
    print(f"{'fault':24}{'alike':>8}{'passed':>8}{'otherwise':>11}")
    for fault in FAULTS:
        print(f"{fault:24}{alike[fault]:8}{passed[fault]:8}{others[fault]:11}")
    print(f"{'all':24}{alike.total():8}{passed.total():8}{others.total():11}")
    return int(unexplained > 0)


if __name__ == "__main__":
    run(main)
