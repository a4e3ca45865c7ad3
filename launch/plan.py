"""Says what a recipe takes of each device, and whether it fits, without having the devices.

    python -m launch.plan --config=configs/deepseek_coder_1_3b.py --topology=v5e:8x8
    python -m launch.plan --config=configs/deepseek_coder_1_3b.py --topology=v5e:2x2 --sampler

For a TPU (v5e:8x8, v5p:4x4x4, v6e:4x4, tpu7x:4x4x4: chips along each axis; v5e:8x8:2: two slices)
libtpu compiles the real training step, or with --sampler prefill and decode; so does this machine
for its own devices (no --topology, or h200:1 where it has one). For GPUs elsewhere (h100:8, h200:8)
the figures are an estimate. Neither data nor tokenizer is read. The exit status is 0 where it fits,
2 where it does not and 1 where the input is wrong.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import jax
from absl import flags
from tqdm import tqdm

from launch.config_flag import define_config_flag, read_config
from ocijax.devices import GIBIBYTE
from ocijax.plan.collectives import wire_bytes_by_kind
from ocijax.plan.plan import Plan
from ocijax.plan.recipe import recipe_without_files
from ocijax.plan.sampling import SamplingPlan, plan_sampling
from ocijax.plan.topology import TPUS, find_devices
from ocijax.plan.training import Observe, TrainingPlan, plan_best, plan_training
from ocijax.program import run

DOES_NOT_FIT = 2


def training_table(plan: TrainingPlan, best: TrainingPlan | None) -> str:
    """A training plan for people; ``best`` is what would be faster, or would fit."""
    lines = [
        *_heading(plan),
        f"remat {plan.remat}; {plan.batch_size} rows of {plan.length:,} tokens a step, "
        f"{plan.rows} at once on each device; {plan.flops_per_token:.2e} FLOPs a token",
        "",
        *_memory(plan, {"optimizer state": plan.optimizer}, "activations and gradients"),
        *_collectives(plan, "a step"),
        "",
        _verdict(plan),
    ]
    if best is not None:
        lines.append(
            f"fastest that fits: remat {best.remat} and a batch of {best.rows} on each device "
            f"({best.share:.1%} of its memory)"
            if best.fits
            else "nothing fits: not even one row a device with full rematerialisation"
        )
    return "\n".join(lines)


def sampling_table(plan: SamplingPlan) -> str:
    """A sampling plan for people."""
    capacities = [f"{context:>10,}  {rows:>16,}" for context, rows in plan.capacities.items()]
    return "\n".join(
        [
            *_heading(plan),
            f"{plan.rows} conversations of {plan.context:,} tokens at once",
            "",
            *_memory(plan, {"keys and values": plan.cache}, "prefill and decode"),
            *_collectives(plan, "a token"),
            "",
            f"{'context':>10}  {'fit at once':>16}",
            *capacities,
            "",
            _verdict(plan),
        ]
    )


def to_mapping(plan: Plan) -> dict[str, Any]:
    """A plan for JSON, with what follows from its fields."""
    return asdict(plan) | {
        "peak": plan.memory.peak,
        "share": plan.share,
        "fits": plan.fits,
        "wire_bytes": wire_bytes_by_kind(plan.collectives),
    }


def _heading(plan: Plan) -> list[str]:
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items() if size > 1)
    how = f"compiled in {plan.seconds:.0f} s" if plan.compiled else "an ESTIMATE: nothing compiled"
    return [f"{plan.devices} x {plan.device_kind}, mesh {mesh or 'of one'}; {how}"]


def _memory(plan: Plan, more: dict[str, int], inside: str) -> list[str]:
    memory = plan.memory
    parts = {"parameters": plan.parameters, **more, inside: memory.temporaries}
    parts["batch, results, code"] = memory.peak - sum(parts.values())
    lines = [f"{'each device':<26} {'GiB':>8} {'of memory':>10}"]
    for name, size in {**parts, "peak": memory.peak}.items():
        lines.append(f"{name:<26} {size / GIBIBYTE:>8.2f} {size / plan.memory_limit:>10.1%}")
    if memory.host:
        lines.append(f"{'in the host memory':<26} {memory.host / GIBIBYTE:>8.2f}")
    return lines


def _collectives(plan: Plan, when: str) -> list[str]:
    if not plan.collectives:
        return []
    lines = ["", f"{'sent ' + when:<26} {'GB':>8} {'arrays':>10}"]
    for kind, size in wire_bytes_by_kind(plan.collectives).items():
        count = sum(one.count for one in plan.collectives if one.kind == kind)
        lines.append(f"{kind:<26} {size / 1e9:>8.2f} {count:>10,}")
    return lines


def _verdict(plan: Plan) -> str:
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    peak, limit = plan.memory.peak / GIBIBYTE, plan.memory_limit / GIBIBYTE
    return f"{verdict}: {peak:.2f} of {limit:.2f} GiB"


@contextmanager
def progress() -> Iterator[Observe]:
    """On a terminal, a line that says what is compiled and for how long; else a line for each."""
    if not sys.stderr.isatty():
        yield lambda doing: print(f"compiling: {doing}", file=sys.stderr)
        return
    ended, bar = threading.Event(), None

    def tick() -> None:
        while not ended.wait(1):
            bar.refresh()

    def observe(doing: str) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(bar_format="compiling: {desc} [{elapsed}]", leave=False)
            threading.Thread(target=tick, daemon=True).start()
        bar.set_description_str(doing)

    try:
        yield observe
    finally:
        ended.set()
        if bar is not None:
            bar.close()


def main() -> None:
    """Plans, prints, and exits by whether it fits."""
    values, recipe = flags.FLAGS, recipe_without_files(read_config())
    if values.topology.partition(":")[0] in TPUS:
        # Compiling for TPUs takes none; those that are here may be at work.
        jax.config.update("jax_platforms", "cpu")
    devices, best = find_devices(values.topology), None
    with progress() as observe:
        if values.sampler:
            context = values.context or recipe.data.length
            plan = plan_sampling(recipe, devices, values.rows, context, observe)
        else:
            plan = plan_training(recipe, devices, observe)
            if values.search:
                best = plan_best(recipe, devices, observe, plan)
    if values.output == "json":
        found = to_mapping(plan) | ({"best": to_mapping(best)} if best else {})
        print(json.dumps(found, indent=2))
    else:
        print(sampling_table(plan) if values.sampler else training_table(plan, best))
    if not plan.fits:
        sys.exit(DOES_NOT_FIT)


if __name__ == "__main__":
    define_config_flag()
    flags.DEFINE_string("topology", "", "Such as v5e:8x8 or h200:8; by default this machine.")
    flags.DEFINE_enum("output", "table", ["table", "json"], "For people or for scripts.")
    flags.DEFINE_bool("search", True, "Also find the fastest remat, and the most rows, that fit.")
    flags.DEFINE_bool("sampler", False, "Plan answering instead of training.")
    flags.DEFINE_integer("rows", 64, "--sampler: conversations at once.", lower_bound=1)
    flags.DEFINE_integer("context", 0, "--sampler: tokens of each; by default a row's.", 0)
    run(main)
