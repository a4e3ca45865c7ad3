"""Prints the remat that one of two processes chooses, which has its own limit of memory.

Run by test_training.py: ``HOST:PORT INDEX LIMIT``.
"""

import sys
from dataclasses import replace

import jax

from ocijax.plan import training
from ocijax.plan.topology import find_devices
from ocijax.sharding import make_mesh
from tests.plan.conftest import TINY


def main(coordinator: str, index: str, limit: str) -> None:
    """Joins the other process, and chooses."""
    jax.distributed.initialize(coordinator, 2, int(index))
    training.memory_limit = lambda device: int(limit)
    recipe = replace(TINY, train=replace(TINY.train, remat="auto"))
    mesh = make_mesh(recipe.mesh, find_devices("h200:4"))
    print(training.with_fastest_remat(recipe, mesh).train.remat)


if __name__ == "__main__":
    main(*sys.argv[1:])
