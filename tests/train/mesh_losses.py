"""Prints the losses of 20 steps on one device and on meshes of eight, as JSON.

Run by test_meshes.py in a process of its own: the number of devices is fixed when JAX starts.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ocijax.collectives import Stage, along_sides, gather_in_stages
from ocijax.model.decoder import ComputeConfig
from ocijax.model.lora import LoraConfig
from ocijax.model.parameters import Parameters
from ocijax.plan.collectives import read_collectives
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.config import DataConfig, Recipe, TrainConfig
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    abstract_state,
    batch_sharding,
    initial_parameters,
    initial_state,
    make_train_step,
    state_shardings,
    trained_table,
)
from tests.train.conftest import MODEL, random_batch

STEPS = 20
LENGTH = 40  # a dimension that no parameter has
RECIPE = Recipe(
    replace(MODEL, hidden_size=16, intermediate_size=48, vocab_size=64),
    DataConfig(("none",), "none", "none", length=LENGTH),
    TrainConfig(batch_size=8, learning_rate=1e-2, remat="none", logits_chunk=LENGTH // 2),
    ComputeConfig("float64" if jax.config.jax_enable_x64 else "float32"),
)
ADAPTER = replace(
    RECIPE, train=replace(RECIPE.train, initial_checkpoint="none"), lora=LoraConfig(rank=4)
)
FROZEN = replace(RECIPE, train=replace(RECIPE.train, freeze_embedding=True))
# Two key and value heads: where tensor is 4, all devices hold both.
MESHES = {
    "one device": (MeshConfig(1, 1, 1, 1), 1),
    "fsdp": (MeshConfig(1, 8, 1, 1), 1),
    "data, fsdp and tensor": (MeshConfig(2, 2, 1, 2), 1),
    "fsdp and tensor, two micro-batches": (MeshConfig(1, 2, 1, 4), 2),
    "data and context": (MeshConfig(2, 1, 4, 1), 1),
    "fsdp, context and tensor, two micro-batches": (MeshConfig(1, 2, 2, 2), 2),
}
FEWER = ("one device", "fsdp, context and tensor, two micro-batches")


def run(
    recipe: Recipe, mesh: Mesh, micro_batches: int, parameters: Parameters, frozen: Parameters
) -> dict[str, object]:
    """The losses on one mesh, how often the step was compiled, and what every device holds."""
    recipe = replace(recipe, train=replace(recipe.train, micro_batches=micro_batches))
    optimizer = make_optimizer(recipe.train, trained_table(recipe), STEPS)
    shardings = state_shardings(recipe, optimizer, mesh)
    parameters = jax.device_put(parameters, shardings.parameters)
    frozen = jax.device_put(frozen, shardings.frozen)
    state = initial_state(parameters, recipe, optimizer, mesh, frozen)
    step = make_train_step(recipe, optimizer, mesh)
    losses = []
    for seed in range(STEPS):
        batch = jax.device_put(random_batch(8, LENGTH, 64, seed), batch_sharding(mesh))
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    replicated = [path for path, a in state.parameters.items() if a.sharding.is_fully_replicated]
    return {"losses": losses, "compiled": step._cache_size(), "replicated": replicated}


def sent(mesh: Mesh) -> list[tuple[str, tuple[int, ...], int]]:
    """Kind, shape and number of devices of all that a step sends."""
    optimizer = make_optimizer(RECIPE.train, trained_table(RECIPE), STEPS)
    batch = random_batch(8, LENGTH, 64)
    step = make_train_step(RECIPE, optimizer, mesh)
    compiled = step.lower(abstract_state(RECIPE, optimizer, mesh), batch).compile()
    found = read_collectives(compiled.as_text())
    return [(one.kind, one.shape, one.group_size) for one in found]


def scattered(mesh: Mesh, stages: tuple[Stage, ...]) -> np.ndarray:
    """The gradient of a gathered array of random cotangents, one for each of eight devices."""

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=PartitionSpec("fsdp"),
        out_specs=PartitionSpec("fsdp"),
        check_vma=False,
    )
    def gradient(cotangents):
        array = jax.numpy.zeros((cotangents.shape[1] // 8, 3))
        return jax.vjp(partial(gather_in_stages, 0, stages), array)[1](cotangents[0])[0]

    return np.asarray(gradient(np.random.default_rng(0).standard_normal((8, 16, 3))))


def main() -> None:
    """Runs all meshes from the same parameters."""
    meshes = {
        name: make_mesh(config, jax.devices()[: math.prod(vars(config).values())])
        for name, (config, _) in MESHES.items()
    }
    parameters, adapter = (
        jax.device_get(initial_parameters(recipe, meshes["one device"]))
        for recipe in (RECIPE, ADAPTER)
    )

    def runs(recipe: Recipe, names: Iterable[str], parameters: Parameters, frozen: Parameters):
        return {
            name: run(recipe, meshes[name], MESHES[name][1], parameters, frozen) for name in names
        }

    printed = {
        "all parameters": runs(RECIPE, MESHES, parameters, {}),
        "an adapter": runs(ADAPTER, FEWER, adapter, parameters),
        "all but the embedding": runs(FROZEN, FEWER, parameters, {}),
    }
    spread = jax.device_get(initial_parameters(RECIPE, meshes["data, fsdp and tensor"]))
    same = all(np.array_equal(spread[path], array) for path, array in parameters.items())
    staged = [
        scattered(meshes["fsdp"], stages).tolist()
        for stages in (
            (("fsdp", None),),
            along_sides("fsdp", (2, 4)),
            along_sides("fsdp", (2, 2, 2)),
        )
    ]
    print(
        json.dumps(
            {
                "runs": printed,
                "same initial parameters": same,
                "scattered": staged,
                "sent": sent(meshes["fsdp"]),
            }
        )
    )


if __name__ == "__main__":
    main()
