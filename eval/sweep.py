"""Measures models on benchmarks under protocols, every combination that a plan names.

    python -m eval.sweep --plan=sweep.toml
    python -m eval.sweep --plan=sweep.toml --hosts=4 --host=0      # and 1, 2, 3 on others

ocijax/evaluate/plan.py says what a plan is. Each run has a folder of the plan's workdir, named by
what makes it: model (by the content of its files), benchmark, protocol, prompts, sampling. A
changed setting therefore makes new runs and leaves old ones as they are, and the same command goes
on where it was: no finished task is answered or judged again. Several hosts share tasks, each with
a folder of its own in a workdir that all reach or each has; `eval.report` puts them together.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from eval.run import CPU_SECONDS, CheckpointGenerator, ProgressBar
from ocijax.errors import InputError
from ocijax.evaluate.evaluation import evaluate, read_budget
from ocijax.evaluate.plan import EndpointModel, Plan, read_plan, run_folder
from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.evaluate.summary import SummaryRow, table
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.program import run
from ocijax.prompts.prompts import load_prompts
from ocijax.sample.endpoint import Endpoint
from ocijax.sample.settings import Generator
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels


class Model(NamedTuple):
    """What answers.

    Attributes:
      name: for the record.
      digest: of its content; of a model at an endpoint nobody knows it.
      generator: answers.
    """

    name: str
    digest: str
    generator: Generator


def models(plan: Plan) -> Iterator[Model]:
    """The plan's models, one after the other: the last one is gone when the next is loaded."""
    from ocijax.train.checkpoint import checkpoint_folder

    for checkpoint in plan.checkpoints:
        folder = checkpoint_folder(checkpoint)
        options = {"dtype": "", "tensor": 1, "template": "", **plan.checkpoint}
        generator = CheckpointGenerator(folder, slots=plan.batch_size, **options)
        loaded = " ".join(f"{name}={value}" for name, value in sorted(plan.checkpoint.items()))
        yield Model(f"{checkpoint} {loaded}".rstrip(), folder_digest(folder, loaded), generator)
    for one in plan.endpoints:
        endpoint = _endpoint(one, plan)
        yield Model(endpoint.name, "", endpoint)


def folder_digest(folder: Path, options: str = "") -> str:
    """SHA-256 of the names and contents of all files of a folder, and of how it is loaded."""
    total = hashlib.sha256(options.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()


def sweep(plan: Plan, sandbox: Sandbox, host: int, hosts: int) -> list[tuple[str, SummaryRow]]:
    """Does what is left of all runs, or this host's share of them.

    Returns:
      Model, with the most answers for a task, and summary of each run.
    """
    prompts = load_prompts(plan.prompts)
    adviser = plan.adviser and _endpoint(plan.adviser, plan)

    @cache
    def benchmark(name: str) -> Benchmark:
        with ProgressBar(f"{name}: reference outputs") as observe:
            whole = asyncio.run(load_benchmark(name, sandbox, plan.tasks, observe))
        part = f"{host} of {hosts}" if hosts > 1 else ""
        return replace(whole, tasks=whole.tasks[host::hosts], part=part)

    loaded = [benchmark(name) for name in plan.benchmarks]
    rows = []
    for model in models(plan):
        for tasks in loaded:
            folders: dict[tuple[str, int], Path] = {}
            for protocol in plan.ordered_protocols():
                for rounds in plan.rounds_of(protocol):
                    how = PROTOCOLS[protocol]
                    with ProgressBar(f"{model.name} {tasks.name} {protocol} {rounds}") as bar:
                        found = evaluate(
                            *(tasks, protocol, model.generator, sandbox),
                            plan.settings(protocol),
                            partial(_folder, plan, folders, (protocol, rounds)),
                            model=model.name,
                            model_digest=model.digest,
                            rounds=rounds,
                            samples=plan.samples,
                            prompts=prompts,
                            oracle_tests=plan.oracle_tests,
                            evaluator=plan.evaluator,
                            sanitizer=plan.sanitizer,
                            adviser=adviser if how.advised else None,
                            adviser_name=adviser.name if how.advised else "",
                            budget=(
                                read_budget(folders[plan.budget_protocol, rounds])
                                if how.budgeted
                                else None
                            ),
                            at_once=plan.batch_size,
                            observe=bar,
                        )
                    rows += [(f"{model.name}, rounds: {rounds}", row) for row in found]
    return rows


def _folder(
    plan: Plan,
    folders: dict[tuple[str, int], Path],
    run: tuple[str, int],
    record: Mapping[str, Any],
) -> Path:
    """The folder of a run, which is also noted under its protocol and rounds."""
    folders[run] = run_folder(plan.workdir, record)
    return folders[run]


def _endpoint(one: EndpointModel, plan: Plan) -> Endpoint:
    return Endpoint(one.url, one.model, concurrency=plan.batch_size)


def main() -> None:
    """Sweeps and prints a table for each model and number of rounds."""
    values = flags.FLAGS
    if not 0 <= values.host < values.hosts:
        raise InputError(f"--host={values.host}: must be from 0 to {values.hosts - 1}")
    plan = read_plan(values.plan)
    sandbox = Sandbox(Limits(cpu_seconds=CPU_SECONDS), values.isolation, plan.packages)
    rows = sweep(plan, sandbox, values.host, values.hosts)
    for title in dict.fromkeys(title for title, _ in rows):
        print(f"{title}\n{table([row for other, row in rows if other == title])}\n")


if __name__ == "__main__":
    flags.DEFINE_string("plan", None, "What to measure: a TOML file.", required=True)
    flags.DEFINE_integer("hosts", 1, "Hosts that share the tasks.", lower_bound=1)
    flags.DEFINE_integer("host", 0, "Which of them this is, from 0.", lower_bound=0)
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
