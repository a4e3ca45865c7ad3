"""Trains a model by a recipe.

    python -m launch.train --config=configs/deepseek_coder_1b.py --workdir=runs/first \
        --config.data.train=conversations.jsonl --config.data.tokenizer=tokenizer.json \
        --config.train.learning_rate=1e-5

Every field of the recipe is a flag. Run again, the same command goes on where it was, however it
ended; SIGTERM and Ctrl-C write a checkpoint first. Progress goes to the terminal, curves to
WORKDIR/tensorboard and WORKDIR/metrics.jsonl, checkpoints to WORKDIR/checkpoints.
"""

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags
from tqdm import tqdm

from ocijax.configuration import from_mapping, to_mapping
from ocijax.errors import InputError
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
    return ", ".join(
        [
            f"loss {report.loss:.4f}",
            f"rate {report.learning_rate:.2e}",
            f"gradient {report.gradient_norm:.3f}",
            f"{speed:,.0f} tokens/s" if speed else "n/a tokens/s",
            f"MFU {mfu:.1%}" if mfu else "MFU n/a",
            *([f"evaluation loss {held_out:.4f}"] if held_out is not None else []),
        ]
    )


class Interruption:
    """True once SIGTERM or Ctrl-C has come; the second Ctrl-C ends the program at once.

    As a context manager it listens only inside.
    """

    def __init__(self):
        self._received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        del number, frame
        self._received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._received


def tell_compiling(doing: str) -> None:
    """Says what is compiled, which may take minutes."""
    print(f"compiling: {doing}", file=sys.stderr)


def train_on_terminal(recipe: Recipe, workdir: str | Path) -> Progress:
    """Trains with progress on standard error; SIGTERM and Ctrl-C write a checkpoint and stop it.

    Raises:
      InputError: as `ocijax.train.trainer.train`.
    """
    # Orbax logs every thread's traceback of a failure that we report in one line.
    logging.set_verbosity(logging.FATAL)
    if recipe.train.remat == "auto":
        recipe = with_fastest_remat(recipe, make_mesh(recipe.mesh), observe=tell_compiling)
        print(f"remat: {recipe.train.remat} is the fastest that fits", file=sys.stderr)
    with Interruption() as stop:
        rows = load_rows(recipe)
        if rows.counts is not None:
            counts = [f"{value} {name}" for name, value in dataclasses.asdict(rows.counts).items()]
            print(f"packed into {len(rows.train)} rows: {', '.join(counts)}", file=sys.stderr)
        bar = ProgressBar()
        try:
            return train(recipe, workdir, rows=rows, observe=bar, stop=stop)
        finally:
            bar.close()


def read_recipe() -> Recipe:
    """The recipe that --config and its overrides give, for the model of --from_hf if there is one.

    Raises:
      InputError: a file or a field is wrong.
    """
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    if not Path(path).is_file():
        raise InputError(f"--config={path}: there is no such file")
    mapping = flags.FLAGS.config.to_dict()
    if folder := flags.FLAGS.from_hf:
        mapping["model"] = to_mapping(read_model_config(folder))
        mapping["train"]["initial_checkpoint"] = folder
        mapping["data"]["tokenizer"] = mapping["data"]["tokenizer"] or folder
    return from_mapping(Recipe, mapping)


def main() -> None:
    """Reads the recipe, trains and says how it ended."""
    progress = train_on_terminal(read_recipe(), flags.FLAGS.workdir)
    ended = "done" if progress.step == progress.steps else "stopped; run again to go on"
    print(f"{flags.FLAGS.workdir}: {progress.step} of {progress.steps} steps, {ended}")


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "Recipe: a file with get_config().")
    flags.DEFINE_string("workdir", None, "Folder of the run; made where absent.")
    flags.DEFINE_string(
        "from_hf",
        "",
        "Hugging Face folder to start from: gives config.model, config.train.initial_checkpoint"
        " and, where that is empty, config.data.tokenizer.",
    )
    flags.mark_flags_as_required(["config", "workdir"])
    run(main)
