"""Training speed on this machine's devices, beside Hugging Face transformers in the same run.

    python -m benchmarks.train --shape=tiny
    python -m benchmarks.train --shape=1.3b --rows=8 --length=4096 --remat=none --noscan_layers
    python -m benchmarks.train --shape=6.7b --rows=4 --length=4096 --fsdp=2 --remat=projections \
        --noscan_layers --peer_checkpointing

Prints tokens/s, padding not counted, and MFU (see `ocijax.train.flops`) of our step on rows of one
segment and on rows packed with conversations of realistic lengths. The peer runs where torch and
transformers are installed, with Liger's kernels where those are; they are no dependencies of ours.
It steps its optimizer as often as ours, its rows in as many parts as are fastest for it, on one
device. On a GPU ``--kernels=20`` also prints the kernels that hold the most of a step's time.
"""

import dataclasses
import sys
import time
from typing import get_args

import jax
import numpy as np
from absl import flags

from benchmarks.kernels import kernels_of
from benchmarks.peer import peer_seconds
from benchmarks.shapes import SHAPES
from ocijax.compiler import platform, set_flags
from ocijax.data.example import Example
from ocijax.data.packing import pack
from ocijax.devices import peak_flops
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.lora import LoraConfig
from ocijax.model.remat import Remat
from ocijax.program import run
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.config import DataConfig, Recipe, TrainConfig
from ocijax.train.flops import training_flops
from ocijax.train.loss import Batch
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    batch_sharding,
    initial_parameters,
    initial_state,
    make_train_step,
    trained_table,
)

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
LAYERS = flags.DEFINE_integer("layers", 0, "Layers, where not all of the shape's.")
ROWS = flags.DEFINE_integer("rows", 8, "Rows a step.")
LENGTH = flags.DEFINE_integer("length", 1024, "Tokens of a row.")
STEPS = flags.DEFINE_integer("steps", 5, "Steps timed, after two that warm up.")
PARTS = flags.DEFINE_integer("micro_batches", 1, "Parts that the rows are run in.")
REMAT = flags.DEFINE_enum("remat", "none", get_args(Remat), "What the backward computes again.")
SCAN = flags.DEFINE_bool("scan_layers", True, "Run the layers by a scan, or unrolled.")
CHUNK = flags.DEFINE_integer("logits_chunk", 0, "Positions of a row at once; 0: a quarter of it.")
RANK = flags.DEFINE_integer("lora_rank", 0, "Train an adapter of that rank; 0: all parameters.")
FP8 = flags.DEFINE_bool("fp8", False, "Take matrix products of the layers in eight bits.")
MOMENTS = flags.DEFINE_enum(
    "moments", "float32", ["float32", "bfloat16"], "Dtype of AdamW's moments."
)
FSDP = flags.DEFINE_integer("fsdp", 1, "Devices that parameters are split over.")
KERNELS = flags.DEFINE_integer("kernels", 0, "Kernels to print, those with the most time.")
PEER = flags.DEFINE_bool("peer", True, "Run the peer too.")
PEER_PARTS = flags.DEFINE_integer("peer_micro_batches", 1, "Parts that the peer runs its rows in.")
PEER_REMAT = flags.DEFINE_bool("peer_checkpointing", False, "Have the peer recompute its layers.")


SEGMENTS = 16
"""Most in a packed row."""


def random_batch(
    model: ModelConfig, rows: int, length: int, packed: bool, max_segments: int
) -> Batch:
    """Rows of one segment, or packed with log-normal lengths (median 270, as Code-Feedback's)."""
    random = np.random.default_rng(0)

    def example(size: int) -> Example:
        return Example(
            random.integers(0, model.vocab_size, size, dtype=np.int32),
            np.ones(size, np.float32),
        )

    sizes = np.full(rows, length)
    if packed:
        sizes = np.exp(random.normal(np.log(270), 0.8, 64 * rows * length // 270))
        sizes = np.clip(sizes.astype(int), 16, length)
    examples = (example(size) for size in sizes)
    filled = list(pack(examples, length, max_segments=max_segments))[:rows]
    return {name: np.stack([row[name] for row in filled]) for name in filled[0]}


def measure(model: ModelConfig, packed: bool) -> tuple[float, float, float]:
    """Median seconds of a step, its tokens and its floating-point operations."""
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    recipe = Recipe(
        model=model,
        data=DataConfig(("random",), "random", "deepseek-coder", length=LENGTH.value),
        train=TrainConfig(
            batch_size=ROWS.value,
            micro_batches=PARTS.value,
            steps=100,
            moments_dtype=MOMENTS.value,
            remat=REMAT.value,
            logits_chunk=CHUNK.value or LENGTH.value // 4,
            initial_checkpoint="none" if RANK.value else "",
        ),
        compute=ComputeConfig(
            dtype,
            max_segments=SEGMENTS if packed else 1,
            fp8=FP8.value,
            scan_layers=SCAN.value,
        ),
        mesh=MeshConfig(1, FSDP.value),
        lora=LoraConfig(RANK.value),
    )
    mesh = make_mesh(recipe.mesh, jax.devices()[: FSDP.value])
    optimizer = make_optimizer(recipe.train, trained_table(recipe), recipe.train.steps)
    frozen = None
    if RANK.value:
        whole = dataclasses.replace(recipe, lora=LoraConfig())
        frozen = jax.tree.map(lambda array: array.astype(dtype), initial_parameters(whole, mesh))
    state = initial_state(initial_parameters(recipe, mesh), recipe, optimizer, mesh, frozen)
    step = make_train_step(recipe, optimizer, mesh)
    batch = jax.device_put(
        random_batch(model, ROWS.value, LENGTH.value, packed, recipe.compute.max_segments),
        batch_sharding(mesh),
    )
    seconds, waiting = [], None
    start = time.perf_counter()
    for _ in range(STEPS.value + 3):
        state, metrics = step(state, batch)
        if waiting is not None:  # one step late, as in training: the devices have the next to do
            jax.device_get(waiting)
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        waiting = metrics
    metrics = jax.device_get(metrics)
    if not np.isfinite(metrics["loss"]):
        raise RuntimeError("the loss is no number")
    for kernel in kernels_of(lambda: step(state, batch))[: KERNELS.value] if KERNELS.value else ():
        print(f"{kernel.milliseconds:10.2f} ms{kernel.launches:6}x  {kernel.name:.90}")
    counts = float(metrics["tokens"]), float(metrics["attended"])
    operations = training_flops(model, *counts, trained_table(recipe))
    return float(np.median(seconds[2:])), float(metrics["tokens"]), operations


def transformers_seconds() -> float | None:
    """Median of transformers' step at the same shape, or ``None`` where it is not run."""
    if not PEER.value:
        return None
    arguments = [f"--{one.name}={one.value}" for one in (SHAPE, LAYERS, ROWS, LENGTH, STEPS)]
    arguments += [f"--micro_batches={PEER_PARTS.value}", f"--checkpointing={PEER_REMAT.value}"]
    return peer_seconds("benchmarks.transformers_train", *arguments)


def main() -> None:
    """Measures the peer, then ours, and prints the table."""
    model = SHAPES[SHAPE.value]
    if LAYERS.value:
        model = dataclasses.replace(model, num_hidden_layers=LAYERS.value)
    theirs = transformers_seconds()
    set_flags(platform())  # as training does
    device = jax.devices()[0]
    print(f"{FSDP.value} x {device.device_kind}: benchmarks.train {' '.join(sys.argv[1:])}")
    peak = peak_flops(device.device_kind, "bfloat16")
    tokens = ROWS.value * LENGTH.value
    print(f"{'':32}{'tokens/s':>12}{'MFU':>8}{'ratio':>8}")
    if theirs is None:
        print(f"{'transformers':32}{'not run':>12}")
    else:
        print(f"{'transformers, one segment a row':32}{tokens / theirs:12,.0f}{'':8}{1:8.2f}")
    for name, packed in (("ocijax, one segment a row", False), ("ocijax, packed rows", True)):
        seconds, counted, operations = measure(model, packed)
        share = operations / seconds / (peak * FSDP.value) if peak else None
        utilisation = f"{share:8.1%}" if share else f"{'n/a':>8}"
        ratio = f"{counted / seconds / (tokens / theirs):8.2f}" if theirs else f"{'n/a':>8}"
        print(f"{name:32}{counted / seconds:12,.0f}{utilisation}{ratio}")


if __name__ == "__main__":
    run(main)
