"""From nothing to a model that repairs its programs, on two CPU cores, in a few minutes.

    python -m launch.quickstart --workdir=runs/quickstart --seed=0

makes small tasks whose instruction leaves one thing open, trains a small transformer on
conversations about them (configs/quickstart.py), and measures on held-out tasks what it gains by
reading how its first answer failed, beside as many attempts without reading. Run again, the same
command goes on where it was. In the working directory lie

    summary.json, figure.png, trajectories.md         what came out
    seed-0/data/, seed-0/train/, seed-0/evaluation/   how it came about
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import flags
from tqdm import tqdm

from configs.quickstart import get_config
from datasets_build.quickstart import build_folder
from launch.train import train_on_terminal
from ocijax.configuration import from_mapping
from ocijax.evaluate.conversations import trajectories_to_conversations
from ocijax.evaluate.evaluation import evaluate
from ocijax.evaluate.store import write_json
from ocijax.evaluate.summary import SummaryRow, table, to_json
from ocijax.json_lines import read_rows
from ocijax.judge.benchmark import load_benchmark
from ocijax.program import run
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels
from ocijax.tasks.dataset import Sizes
from ocijax.tasks.figure import draw
from ocijax.tasks.report import choose_repaired, describe_gains, guessing_ceiling, to_markdown
from ocijax.train.checkpoint import load_model
from ocijax.train.config import Recipe
from ocijax.train.metrics import read_metrics

ROUNDS = 2
TEMPERATURES = (0.6, 0.8, 1.0, 1.2)
LONGEST_ANSWER = 128
SHOWN = 3


class Quickstart:
    """The job, part by part; each part goes on where it was.

    Args:
      workdir: gets the results.
      seed: of data, model and sampling.
      sandbox: runs every program.
      config: the recipe as a mapping; its seed and its data's paths are set here.
      sizes: how much data to make.
    """

    def __init__(
        self,
        workdir: Path,
        seed: int,
        sandbox: Sandbox,
        config: Mapping[str, Any],
        sizes: Sizes = Sizes(),  # noqa: B008  frozen
    ):
        self._workdir = workdir
        self._seed = seed
        self._sandbox = sandbox
        self._sizes = sizes
        self._folder = workdir / f"seed-{seed}"
        data = self._folder / "data"
        self._recipe = from_mapping(
            Recipe,
            {
                **config,
                "seed": seed,
                "data": {
                    **config["data"],
                    "train": [str(data / "conversations" / "train.jsonl")],
                    "evaluation": [str(data / "conversations" / "validation.jsonl")],
                    "tokenizer": str(data / "tokenizer.model"),
                },
            },
        )

    def make_data(self) -> None:
        """Tasks, conversations and the vocabulary."""
        folder = self._folder / "data"
        if not folder.exists():
            build_folder(
                folder,
                sandbox=self._sandbox,
                template=self._recipe.data.template,
                vocabulary_size=self._recipe.model.vocab_size,
                seed=self._seed,
                sizes=self._sizes,
                observe=_say,
            )

    def train(self) -> bool:
        """Trains the model; false where it was told to stop before the end."""
        progress = train_on_terminal(self._recipe, self._folder / "train")
        return progress.step == progress.steps

    def measure(self) -> dict[str, SummaryRow]:
        """The summary of every protocol on the test tasks.

        The temperature of ``resample`` is the one that serves it best on the validation tasks; the
        other protocols answer greedily.
        """
        sampler = Sampler(*load_model(self._folder / "train"), compute=self._recipe.compute)
        rates = {
            temperature: self._evaluate(
                sampler, "validation", "resample", temperature, f"resample-{temperature}"
            ).pass_rate
            for temperature in TEMPERATURES
        }
        best = max(rates, key=rates.__getitem__)
        _say(f"resample does best at temperature {best} on the validation tasks")
        temperatures = {"single": 0.0, "execution": 0.0, "resample": best, "scrambled": 0.0}
        return {
            protocol: self._evaluate(sampler, "test", protocol, temperature, protocol)
            for protocol, temperature in temperatures.items()
        }

    def _evaluate(
        self, sampler: Sampler, split: str, protocol: str, temperature: float, name: str
    ) -> SummaryRow:
        path = self._folder / "data" / "tasks" / f"{split}.jsonl"
        benchmark = replace(
            asyncio.run(load_benchmark(str(path), self._sandbox)), name=f"quickstart-{split}"
        )
        with tqdm(desc=f"{split}, {name}", unit=" tasks", dynamic_ncols=True) as bar:

            def observe(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            [row] = evaluate(
                benchmark,
                protocol,
                sampler,
                self._sandbox,
                SamplingSettings(LONGEST_ANSWER, temperature, seed=self._seed),
                self._folder / "evaluation" / split / name,
                model=str(self._folder / "train"),
                rounds=ROUNDS,
                observe=observe,
            )
        return row

    def report(self, rows: Mapping[str, SummaryRow]) -> str:
        """Writes summary, figure and trajectories; returns what there is to say about them."""
        path = self._folder / "data" / "tasks" / "test.jsonl"
        tasks = asyncio.run(load_benchmark(str(path), self._sandbox)).tasks
        ceiling = guessing_ceiling(tasks)
        summary = to_json(list(rows.values()))
        write_json(self._workdir / "summary.json", summary)
        metrics = read_metrics(self._folder / "train" / "metrics.jsonl")
        draw(metrics, summary, ceiling, self._workdir / "figure.png")
        results = self._folder / "evaluation" / "test" / "execution" / "results.jsonl"
        told = trajectories_to_conversations(read_rows(results, lambda row, number: row))
        shown = "\n".join(map(to_markdown, choose_repaired(told, tasks, SHOWN)))
        (self._workdir / "trajectories.md").write_text(f"# Repaired programs\n\n{shown}")
        return "\n".join(
            [
                shown,
                table(list(rows.values())),
                f"Guessing what is meant solves {ceiling:.1%} of the tasks in one attempt (1/k for"
                " k readings).",
                describe_gains(rows),
                f"{self._workdir}: summary.json, figure.png and trajectories.md",
            ]
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> int:
    """The whole job; the status is that of the program."""
    values = flags.FLAGS
    quickstart = Quickstart(
        Path(values.workdir), values.seed, Sandbox(isolation=values.isolation), get_config()
    )
    quickstart.make_data()
    if not quickstart.train():
        _say("stopped; run the same command again to go on")
        return os.EX_TEMPFAIL
    print(quickstart.report(quickstart.measure()))
    return os.EX_OK


if __name__ == "__main__":
    flags.DEFINE_string("workdir", "runs/quickstart", "Folder of the results; made where absent.")
    flags.DEFINE_integer("seed", 0, "Of data, model and sampling.")
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
