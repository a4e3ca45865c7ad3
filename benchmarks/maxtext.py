"""What our step and MaxText's hold and send on TPU pods, compiled for them without having them.

    python -m benchmarks.maxtext
    python -m benchmarks.maxtext --shape=7b --rows=4

Llama 2's sizes with fp32 parameters and moments, bfloat16 products, scanned layers and splash, on
rows of 4,096 tokens, all parameters split over 64 chips. MaxText's figures are those of its own
``train_compile`` (MaxText 0.2.5, jax 0.11.1, libtpu 0.0.46); peaks are the compiler's
``peak_memory_in_bytes`` on both sides. The exit status is 1 where ours is above a peak of MaxText's
or sends more than four fifths.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version

import jax
from absl import flags

from ocijax.devices import GIBIBYTE
from ocijax.model.presets import PRESETS
from ocijax.model.remat import Remat
from ocijax.plan.collectives import wire_bytes_by_kind
from ocijax.plan.topology import find_devices
from ocijax.plan.training import TrainingPlan, plan_training
from ocijax.program import run
from ocijax.sharding import MeshConfig
from ocijax.train.config import DataConfig, Recipe, TrainConfig


@dataclass(frozen=True)
class Shape:
    """A model, the pod that it is compiled for, and what MaxText's step sends there.

    Attributes:
      preset: a model of Llama 2's sizes, but perhaps for its vocabulary.
      topology: of 64 chips.
      sent: gigabytes on the wire, a device and step: weights are gathered twice, and their
        gradients reduced whole.
    """

    preset: str
    topology: str
    sent: float


@dataclass(frozen=True)
class Step:
    """A step as MaxText compiles it, and what ours keeps.

    Attributes:
      shape: name of the shape.
      rows: on each device.
      policy: MaxText's ``remat_policy``.
      remat: ours.
      peak: MaxText's, in GiB; ``None``: the compiler refuses it.
    """

    shape: str
    rows: int
    policy: str
    remat: Remat
    peak: float | None


SHAPES = {
    "7b": Shape("codellama-7b-python", "v5e:8x8", 51.8),
    "70b": Shape("codellama-70b-python", "v5p:4x4x4", 540.7),
}

STEPS = (
    Step("7b", 1, "full", "full", 4.01),
    Step("7b", 1, "minimal_with_context", "projections", 14.03),
    Step("7b", 4, "full", "full", 8.36),
    # Less recomputation than the only policy with which MaxText's fits.
    Step("7b", 4, "minimal_with_context", "attention", None),
    Step("70b", 1, "full", "full", 26.41),
    Step("70b", 1, "minimal_with_context", "projections", 76.40),
    Step("70b", 4, "full", "full", 45.93),
)

MOST_SENT = 0.8
"""Of what MaxText's step sends."""

SHAPE = flags.DEFINE_multi_enum("shape", [], list(SHAPES), "Shapes; all by default.")
ROWS = flags.DEFINE_multi_integer("rows", [], "Rows on each device; all by default.")


def plan(step: Step) -> TrainingPlan:
    """Compiles our step."""
    shape = SHAPES[step.shape]
    devices = find_devices(shape.topology)
    recipe = Recipe(
        replace(PRESETS[shape.preset], vocab_size=32000),
        DataConfig(("absent",), "absent", "llama-2", length=4096),
        TrainConfig(batch_size=step.rows * len(devices), remat=step.remat),
        mesh=MeshConfig(data=1, fsdp=-1),
    )
    return plan_training(recipe, devices)


def main() -> int:
    """Prints a line for each step; returns the exit status."""
    jax.config.update("jax_platforms", "cpu")
    print(f"jax {version('jax')}, libtpu {version('libtpu')}; MaxText 0.2.5")
    print(f"{'':36}{'':22}{'peak GiB':^24}{'sent GB':^24}")
    print(f"{'shape':6}{'topology':>10}{'rows':>6}{'remat':>13}{'MaxText':>23}", end="")
    print(f"{'ours':>8}{'MaxText':>9}{'ratio':>7}" * 2)
    worst = 0
    for step in STEPS:
        if (SHAPE.value and step.shape not in SHAPE.value) or (
            ROWS.value and step.rows not in ROWS.value
        ):
            continue
        shape, ours = SHAPES[step.shape], plan(step)
        peak = ours.memory.reported_peak / GIBIBYTE
        sent = sum(wire_bytes_by_kind(ours.collectives).values()) / 1e9
        print(f"{step.shape:6}{shape.topology:>10}{step.rows:6}{step.remat:>13}", end="")
        print(f"{step.policy:>23}", end="")
        theirs = f"{step.peak:9.2f}{peak / step.peak:7.2f}" if step.peak else f"{'none':>9}{'':7}"
        print(f"{peak:8.2f}{theirs}{sent:8.1f}{shape.sent:9.1f}{sent / shape.sent:7.2f}", end="")
        print("" if ours.fits else "  DOES NOT FIT", flush=True)
        above = step.peak is not None and peak > step.peak
        worst |= above or not ours.fits or sent > MOST_SENT * shape.sent
    return worst


if __name__ == "__main__":
    run(main)
