"""Trains a model by a recipe.

    python -m launch.train --config=configs/deepseek_coder_1_3b.py --workdir=runs/first \
        --config.data.train=conversations.jsonl --config.data.tokenizer=tokenizer.json \
        --config.train.learning_rate=1e-5

Every field of the recipe is a flag. Run again, the same command goes on where it was, however it
ended; SIGTERM and Ctrl-C write a checkpoint first. Progress goes to the terminal, curves to
WORKDIR/tensorboard and WORKDIR/metrics.jsonl, checkpoints to WORKDIR/checkpoints.

The exit status is 0 once training is finished, 75 where it was stopped after a checkpoint, and 1
where something must be mended first; with any other, as when another process died, run it again.

On a TPU pod, and under SLURM, Open MPI or Kubernetes, the same command on every host is one run,
with a WORKDIR that all of them see. Elsewhere three flags say so:

    --coordinator=HOST:PORT --process_count=2 --process_index=0
"""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path

import jax
from absl import flags
from tqdm import tqdm

from launch.config_flag import define_config_flag, read_config
from launch.processes import Interruption, define_flags, joined
from ocijax.compiler import keep_compiled, platform, set_flags
from ocijax.configuration import from_mapping, to_mapping
from ocijax.hugging_face.folder import read_model_config
from ocijax.plan.training import with_fastest_remat
from ocijax.program import run
from ocijax.sharding import make_mesh
from ocijax.train.config import Recipe
from ocijax.train.rows import load_rows
from ocijax.train.trainer import Progress, train


class ProgressBar:
    """A run's progress on the terminal."""

    def __init__(self):
        self._bar: tqdm | None = None

    def __call__(self, progress: Progress) -> None:
        """Shows the step, its numbers and the latest evaluation loss."""
        if self._bar is None:
            self._bar = tqdm(
                total=progress.steps, initial=progress.step, unit="step", dynamic_ncols=True
            )
        if progress.report is not None:
            self._bar.set_postfix_str(describe(progress), refresh=False)
        self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def describe(progress: Progress) -> str:
    """The numbers of the last report on one line."""
    report = progress.report
    speed, mfu, held_out = report.tokens_per_second, report.mfu, progress.evaluation_loss
    waited, goodput = report.data_wait, report.goodput
    return ", ".join(
        [
            f"loss {report.loss:.4f}",
            f"rate {report.learning_rate:.2e}",
            f"gradient {report.gradient_norm:.3f}",
            f"{speed:,.0f} tokens/s" if speed else "n/a tokens/s",
            f"MFU {mfu:.1%}" if mfu else "MFU n/a",
            *([f"data wait {waited:.1%}"] if waited is not None else []),
            *([f"goodput {goodput:.1%}"] if goodput is not None else []),
            *([f"{report.skipped} skipped"] if report.skipped else []),
            *([f"evaluation loss {held_out:.4f}"] if held_out is not None else []),
        ]
    )


def tell(line: str) -> None:
    """Says something once, however many processes are one run."""
    if jax.process_index() == 0:
        print(line, file=sys.stderr)


def tell_compiling(doing: str) -> None:
    """Says what is compiled, which may take minutes."""
    tell(f"compiling: {doing}")


def train_on_terminal(recipe: Recipe, workdir: str | Path) -> Progress:
    """Trains with progress on standard error; SIGTERM and Ctrl-C write a checkpoint and stop it.

    Of several processes the first one shows it.

    Raises:
      InputError: as `ocijax.train.trainer.train`.
    """
    with Interruption() as stop:
        rows = load_rows(recipe)
        if recipe.train.remat == "auto":
            recipe = with_fastest_remat(recipe, make_mesh(recipe.mesh), observe=tell_compiling)
            tell(f"remat: {recipe.train.remat} is the fastest that fits")
        if jax.process_index() != 0:
            return train(recipe, workdir, rows=rows, stop=stop)
        if rows.counts is not None:
            counts = [f"{value} {name}" for name, value in dataclasses.asdict(rows.counts).items()]
            print(f"packed into {len(rows.train)} rows: {', '.join(counts)}", file=sys.stderr)
        with contextlib.closing(ProgressBar()) as bar:
            return train(recipe, workdir, rows=rows, observe=bar, stop=stop)


def read_recipe() -> Recipe:
    """The recipe that --config and its overrides give, for the model of --from_hf if there is one.

    Raises:
      InputError: a file or a field is wrong.
    """
    mapping = read_config()
    if folder := flags.FLAGS.from_hf:
        mapping["model"] = to_mapping(read_model_config(folder))
        mapping["train"]["initial_checkpoint"] = folder
        mapping["data"]["tokenizer"] = mapping["data"]["tokenizer"] or folder
    return from_mapping(Recipe, mapping)


def main() -> int:
    """Reads the recipe, trains and says how it ended; the status is that of the program."""
    values, recipe = flags.FLAGS, read_recipe()
    keep_compiled(values.compilation_cache)
    if unknown := set_flags(platform()):
        print(f"left out, as this XLA does not know them: {' '.join(unknown)}", file=sys.stderr)
    with joined(values.coordinator, values.process_count, values.process_index):
        progress = train_on_terminal(recipe, values.workdir)
        done = progress.step == progress.steps
        if jax.process_index() == 0:
            ended = "done" if done else "stopped; run again to go on"
            print(f"{values.workdir}: {progress.step} of {progress.steps} steps, {ended}")
    return os.EX_OK if done else os.EX_TEMPFAIL


if __name__ == "__main__":
    define_config_flag()
    flags.DEFINE_string("workdir", None, "Folder of the run; made where absent.")
    flags.DEFINE_string(
        "from_hf",
        "",
        "Hugging Face folder to start from: gives config.model, config.train.initial_checkpoint"
        " and, where that is empty, config.data.tokenizer.",
    )
    flags.DEFINE_string(
        "compilation_cache",
        None,
        "Folder for compiled programs, '' for none; by default JAX_COMPILATION_CACHE_DIR, or"
        " ~/.cache/ocijax/compiled.",
    )
    define_flags()
    flags.mark_flag_as_required("workdir")
    run(main)
