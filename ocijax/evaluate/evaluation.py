"""An evaluation from tasks to summary; begun again, it goes on where it was."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ocijax.conversation import Conversation, conversation_to_row, parse_conversation
from ocijax.evaluate.protocols import run_protocol
from ocijax.evaluate.store import ResultStore, Row, write_json
from ocijax.evaluate.summary import SummaryRow, summarize, to_json
from ocijax.judge.benchmark import Benchmark
from ocijax.judge.checker import Verdict, check
from ocijax.judge.samples import Sample
from ocijax.judge.task import Task
from ocijax.refine.loop import Trajectory
from ocijax.sample.settings import Generator, SamplingSettings
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
    together: int = 64,
    observe: Observe = lambda done, total: None,
) -> list[SummaryRow]:
    """Measures a generator on a benchmark under a protocol.

    Args:
      benchmark: what to solve.
      protocol: one of `ocijax.evaluate.protocols.PROTOCOLS`.
      generator: answers.
      sandbox: runs and judges the programs.
      settings: how to answer; each further sample has a seed of its own.
      workdir: gets the results; see `ocijax.evaluate.store`.
      model: what answers, for the record.
      rounds: most answers for a task.
      samples: independent trajectories for each task.
      together: tasks that are solved side by side; their results are durable together.
      observe: told of progress.

    Returns:
      The summary, also written to ``summary.json``.

    Raises:
      InputError: the workdir belongs to another run.
    """
    record = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "protocol": protocol,
        "model": model,
        "rounds": 1 if protocol == "single" else rounds,
        "sampling": asdict(settings),
        "together": together,
        "isolation": sandbox.isolation,
    }
    store = ResultStore(workdir, record)
    total = len(benchmark.tasks) * samples
    observe(len(store.rows), total)
    for sample in range(samples):
        for start in range(0, len(benchmark.tasks), together):
            group = benchmark.tasks[start : start + together]
            # What a task is shown may depend on its group: it is run whole or not at all.
            if all((task.task_id, sample) in store.finished for task in group):
                continue
            drawn = SamplingSettings(**{**asdict(settings), "seed": settings.seed + sample + start})
            store.append(
                asyncio.run(_solve(protocol, generator, sandbox, group, drawn, rounds, sample))
            )
            observe(len(store.rows), total)
    return finish(store, benchmark, protocol)


def judge_samples(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    sandbox: Sandbox,
    workdir: str | Path,
    *,
    source: str = "",
    together: int = 16,
    observe: Observe = lambda done, total: None,
) -> list[SummaryRow]:
    """Judges programs that were written elsewhere; arguments as for `evaluate`.

    Samples of tasks that the benchmark lacks are not judged, tasks without samples not counted.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    numbered: list[tuple[Task, int, Sample]] = []
    seen: dict[str, int] = {}
    for sample in samples:
        if sample.task_id in tasks:
            number = seen.get(sample.task_id, 0)
            seen[sample.task_id] = number + 1
            numbered.append((tasks[sample.task_id], number, sample))
    record = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "protocol": "samples",
        "model": source,
        "isolation": sandbox.isolation,
    }
    store = ResultStore(workdir, record)
    finished = store.finished
    waiting = [one for one in numbered if (one[0].task_id, one[1]) not in finished]
    observe(len(store.rows), len(numbered))
    for start in range(0, len(waiting), together):
        group = waiting[start : start + together]
        store.append(asyncio.run(_judge(sandbox, group)))
        observe(len(store.rows), len(numbered))
    return finish(store, benchmark, "samples")


def finish(store: ResultStore, benchmark: Benchmark, protocol: str) -> list[SummaryRow]:
    """Writes ``summary.json`` and returns it."""
    summary = summarize(benchmark.name, benchmark.plus, protocol, store.rows)
    write_json(store.workdir / "summary.json", to_json(summary))
    return summary


def trajectories(rows: Sequence[Row]) -> list[Conversation]:
    """The conversations of results, for training; ``passed`` in the metadata says of each answer
    whether it passed the public tests, as the loss-weight policy ``passed`` wants it."""
    conversations = []
    for row in rows:
        if "conversation" not in row:
            continue
        whole = parse_conversation(row["conversation"], row["task_id"])
        answers = sum(message.role == "assistant" for message in whole.messages)
        # In resampling the conversation is that of the last attempts.
        passed = [attempt["passed"] for attempt in row["attempts"][-answers:]]
        conversations.append(
            Conversation(whole.id, whole.messages, "refinement", {"passed": passed})
        )
    return conversations


async def _solve(
    protocol: str,
    generator: Generator,
    sandbox: Sandbox,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    rounds: int,
    sample: int,
) -> list[Row]:
    solved = await run_protocol(protocol, generator, sandbox, tasks, settings, rounds)
    verdicts = await asyncio.gather(*(check(sandbox, one.task, one.program) for one in solved))
    return [_row(one, verdict, sample) for one, verdict in zip(solved, verdicts, strict=True)]


async def _judge(sandbox: Sandbox, group: Sequence[tuple[Task, int, Sample]]) -> list[Row]:
    programs = [sample.program(task) for task, _, sample in group]
    verdicts = await asyncio.gather(
        *(
            check(sandbox, task, program)
            for (task, _, _), program in zip(group, programs, strict=True)
        )
    )
    return [
        {
            "task_id": task.task_id,
            "sample": number,
            "passed_base": verdict.passed_base,
            "passed_plus": verdict.passed_plus,
            "rounds": 1,
            "generated_tokens": 0,
            "verdict": _statuses(verdict),
            "program": program,
        }
        for (task, number, _), program, verdict in zip(group, programs, verdicts, strict=True)
    ]


def _row(trajectory: Trajectory, verdict: Verdict, sample: int) -> Row:
    return {
        "task_id": trajectory.task.task_id,
        "sample": sample,
        "passed_base": verdict.passed_base,
        "passed_plus": verdict.passed_plus,
        "rounds": len(trajectory.attempts),
        "generated_tokens": sum(one.generated_tokens for one in trajectory.attempts),
        "public_tests": len(trajectory.task.public_tests),
        "verdict": _statuses(verdict),
        "attempts": [asdict(attempt) for attempt in trajectory.attempts],
        "conversation": conversation_to_row(trajectory.conversation),
    }


def _statuses(verdict: Verdict) -> dict[str, str]:
    return {name: suite.status for name, suite in verdict.suites.items()}
