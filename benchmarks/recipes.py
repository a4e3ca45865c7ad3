"""Every recipe, planned on every kind of device that it has a layout for: does it fit?

    python -m benchmarks.recipes --only=deepseek_coder_6_7b

Training steps are compiled for TPUs, of which none need be there, and estimated for GPUs. The exit
status is 1 where one does not fit.
"""

import importlib
from pathlib import Path

import jax
from absl import flags

from ocijax.devices import GIBIBYTE
from ocijax.errors import InputError
from ocijax.plan.collectives import wire_bytes_by_kind
from ocijax.plan.recipe import recipe_without_files
from ocijax.plan.topology import find_devices
from ocijax.plan.training import plan_training
from ocijax.program import run

ONLY = flags.DEFINE_list("only", [], "Names of recipes; all by default.")
DEVICES = flags.DEFINE_list("devices", [], "Names of devices; all that a recipe has by default.")

FOLDER = Path(__file__).parents[1] / "configs"


def main() -> int:
    """Prints a line for each; returns the exit status."""
    jax.config.update("jax_platforms", "cpu")
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    modules = {name: importlib.import_module(f"configs.{name}") for name in names}
    recipes = {name: module for name, module in modules.items() if hasattr(module, "LAYOUTS")}
    for name in ONLY.value:
        if name not in recipes:
            raise InputError(f"--only={name}: choose {', '.join(recipes)}")
    print(f"{'recipe':24}{'devices':>12}{'remat':>12}{'parts':>6}{'state':>8}{'peak':>8}", end="")
    print(f"{'of GiB':>8}{'sent GB':>9}{'seconds':>9}")
    worst = 0
    for name in ONLY.value or recipes:
        for devices in recipes[name].LAYOUTS:
            if DEVICES.value and devices not in DEVICES.value:
                continue
            recipe = recipe_without_files(recipes[name].get_config(devices).to_dict())
            plan = plan_training(recipe, find_devices(devices))
            state, peak = plan.parameters + plan.optimizer, plan.memory.peak
            sent = sum(wire_bytes_by_kind(plan.collectives).values()) / 1e9
            sizes = [size / GIBIBYTE for size in (state, peak, plan.memory_limit)]
            print(f"{name:24}{devices:>12}{plan.remat:>12}{plan.micro_batches:6}", end="")
            print("".join(f"{size:8.2f}" for size in sizes), end="")
            print(
                f"{sent:9.1f}{plan.seconds:9.0f}", "" if plan.fits else "  DOES NOT FIT", flush=True
            )
            worst |= not plan.fits
    return worst


if __name__ == "__main__":
    run(main)
