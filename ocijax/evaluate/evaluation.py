"""An evaluation from tasks to summary; begun again, it goes on where it was."""

import asyncio
import hashlib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ocijax.conversation import conversation_to_row
from ocijax.errors import InputError
from ocijax.evaluate.checkpoint import Loading
from ocijax.evaluate.protocols import PROTOCOLS, ask_again, check_protocol
from ocijax.evaluate.record import RecordedGenerator
from ocijax.evaluate.store import ResultStore, Row, read_log, write_json
from ocijax.evaluate.summary import SummaryRow, summarize, to_json
from ocijax.judge.benchmark import Benchmark
from ocijax.judge.checker import Evaluator, Verdict, check
from ocijax.judge.samples import Sample
from ocijax.judge.task import Task
from ocijax.prompts.prompts import Prompts, turns
from ocijax.refine.attempt import Attempt, try_answer
from ocijax.refine.loop import Trajectory, begin, refine
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

Budget = Mapping[tuple[str, int], int]
"""Tokens by task id and sample."""

Observe = Callable[[int, int], None]
"""Told how many answers are judged, of how many."""


def evaluate(
    benchmark: Benchmark,
    protocol: str,
    generator: Generator,
    sandbox: Sandbox,
    settings: SamplingSettings,
    workdir: str | Path | Callable[[Mapping[str, Any]], Path],
    *,
    model: str = "",
    model_digest: str = "",
    loading: Loading | None = None,
    rounds: int = 2,
    samples: int = 1,
    prompts: Prompts | None = None,
    oracle_tests: Literal["base", "plus"] = "plus",
    evaluator: Evaluator = "ocijax",
    sanitizer: str = "fenced",
    adviser: Generator | None = None,
    adviser_name: str = "",
    budget: Budget | None = None,
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
      workdir: gets the results, see `ocijax.evaluate.store`; or gives the folder that does, told
        what makes the run.
      model: what answers, for the record.
      model_digest: of its content, likewise, where it is known.
      loading: how it is loaded, likewise, where it is a checkpoint.
      rounds: most answers for a task; ``single`` has one, and for ``resample_tokens``, which tokens
        end, it is recorded only: those of the run whose budget it has.
      samples: independent trajectories for each task.
      prompts: what the model is told; our own by default.
      oracle_tests: those that oracle protocols run and show.
      evaluator: whose verdicts score.
      sanitizer: how programs are found in answers, one of `ocijax.refine.sanitize.SANITIZERS`.
      adviser: words the guidance of ``human`` and ``human_oracle``.
      adviser_name: its model, for the record.
      budget: tokens of each trajectory of ``resample_tokens``.
      at_once: how many of them are under way, see `ocijax.refine.loop.refine`.
      observe: told of progress.

    Returns:
      The summary, also written to ``summary.json``.

    Raises:
      InputError: the protocol does not fit, or the workdir belongs to another run.
    """
    rounds = 1 if protocol == "single" else rounds
    check_protocol(protocol, rounds, settings.temperature)
    prompts, how = prompts or turns(), PROTOCOLS[protocol]
    starts = [
        begin(task, sample, prompts, benchmark.name)
        for sample in range(samples)
        for task in benchmark.tasks
    ]
    record = {
        **_origin(benchmark, protocol, sandbox, model, evaluator),
        "rounds": rounds,
        "samples": samples,
        "sanitizer": sanitizer,
        "sampling": asdict(settings),
        "prompts": {"name": prompts.name, "sha256": prompts.digest},
    }
    if how.oracle:
        record["oracle_tests"] = oracle_tests
    if how.advised:
        if adviser is None:
            raise InputError(f"protocol {protocol}: needs an adviser; give --adviser_endpoint")
        if protocol == "human_oracle":
            _check_solutions(benchmark)
        record["adviser"] = adviser_name
    if how.budgeted:
        budget = _checked_budget(protocol, starts, budget)
        # Each answer has a token at least, so that tokens end a task before rounds do.
        rounds = max(budget.values(), default=1)
        record["budget"] = _hash(f"{key}: {tokens}" for key, tokens in sorted(budget.items()))
    if model_digest:
        record["model_sha256"] = model_digest
    if loading:
        record["loading"] = asdict(loading)
    with ResultStore(workdir(record) if callable(workdir) else workdir, record) as store:
        total = len(benchmark.tasks) * samples
        observe(len(store.rows), total)
        if len(store.rows) < total:
            asyncio.run(
                _solve(
                    store,
                    starts,
                    RecordedGenerator(generator, store.answers),
                    sandbox,
                    settings,
                    rounds,
                    evaluator,
                    observe,
                    ask_again=ask_again(
                        protocol,
                        prompts,
                        RecordedGenerator(adviser, store.answers) if how.advised else None,
                        settings.seed,
                    ),
                    attempt=partial(
                        try_answer,
                        tests=oracle_tests if how.oracle else "public",
                        wording=prompts.wording,
                        sanitizer=sanitizer,
                    ),
                    prompts=prompts,
                    tokens_left=partial(_tokens_left, budget if how.budgeted else None),
                    at_once=at_once,
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
      InputError: no sample belongs to a task, where these are not a host's part of more; or the
        workdir belongs to another run.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    programs: dict[tuple[str, int], str] = {}
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.task_id in tasks:
            number = counts[sample.task_id] = counts.get(sample.task_id, -1) + 1
            programs[sample.task_id, number] = sample.program(tasks[sample.task_id])
    if not programs and not benchmark.part:
        raise InputError(f"{source}: has no sample of the {len(tasks)} tasks of {benchmark.name}")
    record = {
        **_origin(benchmark, "single", sandbox, source, evaluator),
        # All of them, also on a host that has a part of the tasks: the parts are of one run.
        "programs": _hash(text for one in samples for text in map(str, astuple(one))),
    }
    with ResultStore(workdir, record) as store:
        observe(len(store.rows), len(programs))
        asyncio.run(_judge_programs(store, tasks, programs, sandbox, evaluator, observe))
        return _finish(store, benchmark, "single")


def read_budget(workdir: str | Path) -> Budget:
    """The tokens that each trajectory of a run had, for ``resample_tokens``.

    Raises:
      InputError: the workdir has no results that can be read.
    """
    path = Path(workdir) / "results.jsonl"
    budget = {}
    for number, row in enumerate(read_log(path), start=1):
        match row:
            case {"task_id": str(task_id), "sample": int(sample), "generated_tokens": int(tokens)}:
                budget[task_id, sample] = tokens
            case _:
                raise InputError(f"{path}:{number}: no row of results")
    return budget


def _origin(
    benchmark: Benchmark, protocol: str, sandbox: Sandbox, model: str, evaluator: Evaluator
) -> dict[str, Any]:
    """What makes a run, whatever its protocol."""
    return {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        **({"part": benchmark.part} if benchmark.part else {}),
        "tasks": len(benchmark.tasks),
        "task_ids": _hash(task.task_id for task in benchmark.tasks),
        "protocol": protocol,
        "model": model,
        "evaluator": evaluator,
        "isolation": sandbox.isolation,
        "packages": sandbox.packages,
        # By which programs run, and references gave what is expected of them.
        "python": "{}.{}".format(*sys.version_info),
    }


async def _solve(
    store: ResultStore,
    trajectories: Sequence[Trajectory],
    generator: Generator,
    sandbox: Sandbox,
    settings: SamplingSettings,
    rounds: int,
    evaluator: Evaluator,
    observe: Observe,
    **options: Any,
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
        generator,
        sandbox,
        trajectories,
        settings,
        rounds,
        finish=finish,
        recall=recall,
        **options,
    )


def _check_solutions(benchmark: Benchmark) -> None:
    for task in benchmark.tasks:
        if not task.metadata.get("solution"):
            raise InputError(
                f"protocol human_oracle: {task.task_id} has no metadata.solution for the adviser"
            )


def _checked_budget(protocol: str, starts: Sequence[Trajectory], budget: Budget | None) -> Budget:
    """The tokens of these trajectories.

    Raises:
      InputError: there are none for one of them.
    """
    if budget is None:
        raise InputError(f"protocol {protocol}: needs a budget; give --budget=WORKDIR of a run")
    keys = [(one.task.task_id, one.sample) for one in starts]
    for task_id, sample in keys:
        if budget.get((task_id, sample), 0) < 1:
            raise InputError(
                f"protocol {protocol}: the budget has no tokens for {task_id}, sample {sample}; "
                "take a finished run on the same tasks, with as many samples"
            )
    return {key: budget[key] for key in keys}


def _tokens_left(budget: Budget | None, trajectory: Trajectory) -> float:
    if budget is None:
        return math.inf
    if any(not one.generated_tokens for one in trajectory.attempts):
        raise InputError("--budget: answers come without a count of their tokens; ask another way")
    spent = sum(one.generated_tokens for one in trajectory.attempts)
    return budget[trajectory.task.task_id, trajectory.sample] - spent


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
        # The disk is waited for beside the loop, which has the next programs to send.
        await asyncio.to_thread(store.results.append, row)
        observe(len(store.rows), len(programs))

    finished = store.finished()
    # What takes longest begins first, so that at the end no core waits for another.
    ordered = sorted(programs, key=lambda key: -tasks[key[0]].reference_seconds)
    try:
        async with asyncio.TaskGroup() as running:
            for key in ordered:
                if key not in finished:
                    running.create_task(judge(*key, programs[key]))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _checks_at_a_time() -> asyncio.Semaphore:
    """As many as a sandbox runs: the inputs of all of them are in memory."""
    return asyncio.Semaphore(2 + len(os.sched_getaffinity(0)))


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
