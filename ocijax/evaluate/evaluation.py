"""An evaluation from tasks to summary; begun again, it goes on where it was."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ocijax.conversation import conversation_to_row
from ocijax.errors import InputError
from ocijax.evaluate.protocols import PROTOCOLS, check_protocol
from ocijax.evaluate.record import RecordedGenerator
from ocijax.evaluate.store import ResultStore, Row, write_json
from ocijax.evaluate.summary import SummaryRow, summarize, to_json
from ocijax.judge.benchmark import Benchmark
from ocijax.judge.checker import Evaluator, Verdict, check
from ocijax.judge.samples import Sample
from ocijax.judge.task import Task
from ocijax.refine.loop import SHOW_FEEDBACK, Attempt, Trajectory, begin, refine
from ocijax.refine.sanitize import SANITIZERS
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

Observe = Callable[[int, int], None]
"""Told how many answers are judged, of how many."""


def evaluate(
    benchmark: Benchmark,
    protocol: str,
    generator: Generator,
    sandbox: Sandbox,
    settings: SamplingSettings,
    workdir: str | Path,
    *,
    model: str = "",
    rounds: int = 2,
    samples: int = 1,
    sanitizer: str = "fenced",
    evaluator: Evaluator = "ocijax",
    at_once: int = 64,
    observe: Observe = lambda done, total: None,
) -> list[SummaryRow]:
    """Measures a generator on a benchmark under a protocol.

    Each task is scored as soon as it ends, while others are still being answered, and its result
    is on disk at once. A run that was killed and is begun again asks for no answer and judges no
    task twice, and ends with the results that it would have had undisturbed.

    Args:
      benchmark: what to solve.
      protocol: one of `ocijax.evaluate.protocols.PROTOCOLS`.
      generator: answers.
      sandbox: runs and judges the programs.
      settings: how to answer.
      workdir: gets the results; see `ocijax.evaluate.store`.
      model: what answers, for the record.
      rounds: most answers for a task; ``single`` has one.
      samples: independent trajectories for each task.
      sanitizer: how programs are found in answers, one of `ocijax.refine.sanitize.SANITIZERS`.
      evaluator: whose verdicts score them, see `ocijax.judge.checker.check`.
      at_once: how many of them are under way, see `ocijax.refine.loop.refine`.
      observe: told of progress.

    Returns:
      The summary, also written to ``summary.json``.

    Raises:
      InputError: the protocol does not fit, or the workdir belongs to another run.
    """
    rounds = 1 if protocol == "single" else rounds
    check_protocol(protocol, rounds, settings.temperature)
    record = {
        **_origin(benchmark, protocol, sandbox, model, evaluator),
        "rounds": rounds,
        "samples": samples,
        "sanitizer": sanitizer,
        "sampling": asdict(settings),
    }
    with ResultStore(workdir, record) as store:
        total = len(benchmark.tasks) * samples
        observe(len(store.rows), total)
        if len(store.rows) < total:
            asyncio.run(
                _solve(
                    store,
                    [begin(task, sample) for sample in range(samples) for task in benchmark.tasks],
                    protocol,
                    generator,
                    sandbox,
                    settings,
                    rounds,
                    sanitizer,
                    evaluator,
                    at_once,
                    observe,
                )
            )
        return _finish(store, benchmark, protocol)


def judge_samples(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    sandbox: Sandbox,
    workdir: str | Path,
    *,
    source: str = "",
    evaluator: Evaluator = "ocijax",
    observe: Observe = lambda done, total: None,
) -> list[SummaryRow]:
    """Judges programs that were written elsewhere; arguments as for `evaluate`.

    Samples of tasks that the benchmark lacks are not judged, tasks without samples not counted.

    Raises:
      InputError: no sample belongs to a task, or the workdir belongs to another run.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    programs: dict[tuple[str, int], str] = {}
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.task_id in tasks:
            number = counts[sample.task_id] = counts.get(sample.task_id, -1) + 1
            programs[sample.task_id, number] = sample.program(tasks[sample.task_id])
    if not programs:
        raise InputError(f"{source}: has no sample of the {len(tasks)} tasks of {benchmark.name}")
    record = {
        **_origin(benchmark, "single", sandbox, source, evaluator),
        "programs": _hash(programs.values()),
    }
    with ResultStore(workdir, record) as store:
        observe(len(store.rows), len(programs))
        asyncio.run(_judge_programs(store, tasks, programs, sandbox, evaluator, observe))
        return _finish(store, benchmark, "single")


def _origin(
    benchmark: Benchmark, protocol: str, sandbox: Sandbox, model: str, evaluator: Evaluator
) -> dict[str, Any]:
    """What makes a run, whatever its protocol."""
    return {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "tasks": len(benchmark.tasks),
        "task_ids": _hash(task.task_id for task in benchmark.tasks),
        "protocol": protocol,
        "model": model,
        "isolation": sandbox.isolation,
        "packages": sandbox.packages,
        "evaluator": evaluator,
    }


async def _solve(
    store: ResultStore,
    trajectories: Sequence[Trajectory],
    protocol: str,
    generator: Generator,
    sandbox: Sandbox,
    settings: SamplingSettings,
    rounds: int,
    sanitizer: str,
    evaluator: Evaluator,
    at_once: int,
    observe: Observe,
) -> None:
    finished = store.finished()
    known = {
        key: tuple(Attempt(**attempt) for attempt in row["attempts"])
        for key, row in finished.items()
    }
    judging = _checks_at_a_time()

    def recall(trajectory: Trajectory, completion: Completion) -> Attempt | None:
        attempts = known.get((trajectory.task.task_id, trajectory.sample), ())
        number = len(trajectory.attempts)
        same = number < len(attempts) and attempts[number].reply == completion.text
        return attempts[number] if same else None

    async def finish(trajectory: Trajectory) -> None:
        if (trajectory.task.task_id, trajectory.sample) in finished:
            return
        async with judging:
            verdict = await check(sandbox, trajectory.task, trajectory.program, evaluator)
        store.results.append(_row(trajectory, verdict))
        observe(len(store.rows), len(trajectories))

    await refine(
        RecordedGenerator(generator, store.answers),
        sandbox,
        trajectories,
        settings,
        rounds,
        ask_again=PROTOCOLS[protocol] or SHOW_FEEDBACK,
        extract=SANITIZERS[sanitizer],
        at_once=at_once,
        finish=finish,
        recall=recall,
    )


async def _judge_programs(
    store: ResultStore,
    tasks: dict[str, Task],
    programs: dict[tuple[str, int], str],
    sandbox: Sandbox,
    evaluator: Evaluator,
    observe: Observe,
) -> None:
    judging = _checks_at_a_time()

    async def judge(task_id: str, number: int, program: str) -> None:
        async with judging:
            verdict = await check(sandbox, tasks[task_id], program, evaluator)
        row = {**_verdict(task_id, number, verdict, program), "rounds": 1, "generated_tokens": 0}
        store.results.append(row)
        observe(len(store.rows), len(programs))

    finished = store.finished()
    try:
        async with asyncio.TaskGroup() as running:
            for key, program in programs.items():
                if key not in finished:
                    running.create_task(judge(*key, program))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _checks_at_a_time() -> asyncio.Semaphore:
    """Some more than run at a time: the inputs of all of them are in memory."""
    return asyncio.Semaphore(2 * len(os.sched_getaffinity(0)))


def _finish(store: ResultStore, benchmark: Benchmark, protocol: str) -> list[SummaryRow]:
    """Writes ``summary.json`` and returns it."""
    summary = summarize(benchmark.name, benchmark.plus, protocol, store.rows)
    write_json(store.workdir / "summary.json", to_json(summary))
    return summary


def _row(trajectory: Trajectory, verdict: Verdict) -> Row:
    """One row of ``results.jsonl``."""
    return {
        **_verdict(trajectory.task.task_id, trajectory.sample, verdict, trajectory.program),
        "rounds": len(trajectory.attempts),
        "generated_tokens": sum(one.generated_tokens for one in trajectory.attempts),
        "public_tests": len(trajectory.task.public_tests),
        "attempts": [asdict(attempt) for attempt in trajectory.attempts],
        "conversation": conversation_to_row(trajectory.conversation),
    }


def _verdict(task_id: str, sample: int, verdict: Verdict, program: str) -> Row:
    return {
        "task_id": task_id,
        "sample": sample,
        "passed_base": verdict.passed_base,
        "passed_plus": verdict.passed_plus,
        "verdict": {name: suite.status for name, suite in verdict.suites.items()},
        "program": program,
    }


def _hash(texts) -> str:
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return total.hexdigest()
