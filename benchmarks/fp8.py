"""Loss curves with matrix products in eight bits and in bfloat16, side by side.

    python -m benchmarks.fp8 --steps=400

Trains a model of 85 million parameters from the same start on the same rows, the sources of
Python's standard library as bytes. Needs a Hopper GPU or a newer one.
"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from absl import flags

from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.program import run
from ocijax.sharding import make_mesh
from ocijax.train.config import DataConfig, Recipe, TrainConfig
from ocijax.train.loss import Batch
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    initial_parameters,
    initial_state,
    make_train_step,
    trained_table,
)

STEPS = flags.DEFINE_integer("steps", 400, "Steps of each.", lower_bound=10)

ROWS, LENGTH = 32, 1024
MODEL = ModelConfig(256, 768, 2048, 12, 12, 12, 64, LENGTH)


def batches(steps: int) -> Iterator[Batch]:
    """Rows from anywhere in the sources, the same at each call."""
    folder = Path(sysconfig.get_path("stdlib"))
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    tokens, random = np.frombuffer(text, np.uint8), np.random.default_rng(0)
    places = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), (ROWS, LENGTH))
    for _ in range(steps):
        starts = random.integers(len(tokens) - LENGTH, size=(ROWS, 1))
        yield {
            "tokens": tokens[starts + places].astype(np.int32),
            "positions": places,
            "segment_ids": np.ones_like(places),
            "loss_weights": (places > 0).astype(np.float32),
        }


def losses(fp8: bool) -> list[float]:
    """Those of all steps, in nats a byte."""
    recipe = Recipe(
        MODEL,
        DataConfig(("stdlib",), "bytes", "none", length=LENGTH),
        TrainConfig(ROWS, steps=STEPS.value, learning_rate=5e-4, remat="none"),
        ComputeConfig("bfloat16", max_segments=1, fp8=fp8, scan_layers=False),
    )
    mesh = make_mesh(recipe.mesh, jax.devices()[:1])
    optimizer = make_optimizer(recipe.train, trained_table(recipe), STEPS.value)
    state = initial_state(initial_parameters(recipe, mesh), recipe, optimizer, mesh)
    step = make_train_step(recipe, optimizer, mesh)
    found = []
    for batch in batches(STEPS.value):
        state, metrics = step(state, batch)
        found.append(metrics["loss"])
    return [float(loss) for loss in jax.device_get(found)]


def main() -> None:
    """Trains both and prints the mean loss of each tenth of the steps."""
    narrow, wide = losses(fp8=True), losses(fp8=False)
    print(f"{jax.devices()[0].device_kind}: mean loss, nats a byte")
    print(f"{'steps':>12}{'bfloat16':>12}{'fp8':>12}{'difference':>12}")
    tenth = STEPS.value // 10
    for first in range(0, 10 * tenth, tenth):
        one, other = (np.mean(curve[first : first + tenth]) for curve in (wide, narrow))
        span = f"{first + 1}-{first + tenth}"
        print(f"{span:>12}{one:12.4f}{other:12.4f}{other - one:+12.4f}")


if __name__ == "__main__":
    run(main)
