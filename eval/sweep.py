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
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from absl import flags

from eval.hosts import check_hosts, define_hosts
from eval.models import Model, checkpoint_model, endpoint_model
from eval.run import CPU_SECONDS, ProgressBar
from ocijax.evaluate.evaluation import evaluate, read_budget
from ocijax.evaluate.plan import Plan, read_plan, run_folder
from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.evaluate.summary import SummaryRow, table
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.program import run
from ocijax.prompts.prompts import load_prompts
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels


def models(plan: Plan) -> Iterator[Model]:
    """The plan's models, one after the other: the last one is gone when the next is loaded."""
    for checkpoint in plan.checkpoints:
        yield checkpoint_model(checkpoint, plan.checkpoint, slots=plan.batch_size)
    for one in plan.endpoints:
        yield endpoint_model(one.url, one.model, plan.batch_size)


def sweep(plan: Plan, sandbox: Sandbox, host: int, hosts: int) -> list[tuple[str, SummaryRow]]:
    """Does what is left of all runs, or this host's share of them.

    Returns:
      Model, with the most answers for a task, and summary of each run.
    """
    prompts = load_prompts(plan.prompts)
    adviser = plan.adviser and endpoint_model(plan.adviser.url, plan.adviser.model, plan.batch_size)

    @cache
    def benchmark(name: str) -> Benchmark:
        with ProgressBar(f"{name}: reference outputs") as observe:
            whole = asyncio.run(load_benchmark(name, sandbox, plan.tasks, observe))
        return whole.share(host, hosts)

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
                            plan.sampling[protocol],
                            partial(_folder, plan, folders, (protocol, rounds)),
                            model=model.name,
                            model_digest=model.digest,
                            loading=model.loading,
                            rounds=rounds,
                            samples=plan.samples,
                            prompts=prompts,
                            oracle_tests=plan.oracle_tests,
                            evaluator=plan.evaluator,
                            sanitizer=plan.sanitizer,
                            adviser=adviser.generator if how.advised else None,
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


def main() -> None:
    """Sweeps and prints a table for each model and number of rounds."""
    values = flags.FLAGS
    check_hosts(values)
    plan = read_plan(values.plan)
    sandbox = Sandbox(Limits(cpu_seconds=CPU_SECONDS), values.isolation, plan.packages)
    rows = sweep(plan, sandbox, values.host, values.hosts)
    for title in dict.fromkeys(title for title, _ in rows):
        print(f"{title}\n{table([row for other, row in rows if other == title])}\n")


if __name__ == "__main__":
    flags.DEFINE_string("plan", None, "What to measure: a TOML file.", required=True)
    define_hosts()
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
