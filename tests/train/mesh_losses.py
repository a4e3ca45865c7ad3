"""Prints the losses of 20 steps on one device and on three meshes of eight, as JSON.

Run by test_meshes.py in a process of its own: the number of devices is fixed when JAX starts.
"""

import json
from dataclasses import replace

import jax

from ocijax.model.decoder import ComputeConfig
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.config import DataConfig, Recipe, TrainConfig
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import batch_sharding, initial_parameters, initial_state, make_train_step
from tests.train.conftest import MODEL, random_batch

STEPS = 20
# Two key and value heads: the last mesh holds them whole.
MESHES = {
    "one device": MeshConfig(1, 1, 1),
    "fsdp": MeshConfig(1, 8, 1),
    "data, fsdp and tensor": MeshConfig(2, 2, 2),
    "fsdp and tensor, two micro-batches": MeshConfig(1, 2, 4),
}


def losses(name: str, config: MeshConfig) -> dict[str, object]:
    """The losses on one mesh, and how often the step was compiled."""
    mesh = make_mesh(config, jax.devices()[: config.data * config.fsdp * config.tensor])
    recipe = Recipe(
        replace(MODEL, hidden_size=16, intermediate_size=32, vocab_size=64),
        DataConfig(("none",), "none", "none", length=32),
        TrainConfig(
            batch_size=8,
            micro_batches=2 if "micro" in name else 1,
            learning_rate=1e-2,
            logits_chunk=16,
        ),
        ComputeConfig("float64" if jax.config.jax_enable_x64 else "float32", "full"),
    )
    optimizer = make_optimizer(recipe.train, recipe.model, STEPS)
    state = initial_state(initial_parameters(recipe, mesh), recipe, optimizer, mesh)
    step = make_train_step(recipe, optimizer, mesh)
    values = []
    for seed in range(STEPS):
        batch = jax.device_put(random_batch(8, 32, 64, seed), batch_sharding(mesh))
        state, metrics = step(state, batch)
        values.append(float(metrics["loss"]))
    unlike = [
        path
        for path, array in state.parameters.items()
        if config.fsdp > 1 and array.sharding.is_fully_replicated
    ]
    return {"losses": values, "compiled": step._cache_size(), "replicated": unlike}


if __name__ == "__main__":
    print(json.dumps({name: losses(name, config) for name, config in MESHES.items()}))
