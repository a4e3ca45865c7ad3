"""What a training step takes of each device, and the fastest way to run it that fits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from ocijax.devices import GIBIBYTE, memory_limit
from ocijax.errors import InputError
from ocijax.model.remat import Remat
from ocijax.plan.estimate import estimate_training
from ocijax.plan.plan import Plan
from ocijax.plan.program import compile_program
from ocijax.plan.topology import AbsentGpu, Devices
from ocijax.sharding import bytes_on_a_device, make_mesh
from ocijax.train.config import Recipe
from ocijax.train.flops import training_flops
from ocijax.train.loss import Batch
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    abstract_state,
    batch_sharding,
    make_train_step,
    rows_at_once,
    trained_table,
)

REMATS: tuple[Remat, ...] = get_args(Remat)
"""From the fastest to that which holds least."""

_MOST_GROWTH = 64
"""Of rows at once, where so little is taken that any number would seem to fit."""

Observe = Callable[[str], None]
"""Told what is compiled next, in a few words."""


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """What a recipe's training step takes of each device.

    Attributes:
      remat: what the backward computes again.
      batch_size: rows a step, over all devices.
      micro_batches: parts of a batch, run one after the other.
      rows: that a device holds at once.
      length: tokens in a row.
      optimizer: bytes of its state on one device.
      flops_per_token: of forward and backward, by `ocijax.train.flops`, in rows of one segment.
    """

    remat: Remat
    batch_size: int
    micro_batches: int
    rows: int
    length: int
    optimizer: int
    flops_per_token: float


def plan_training(
    recipe: Recipe,
    devices: Devices,
    observe: Observe = lambda doing: None,
) -> TrainingPlan:
    """Compiles a recipe's step for devices, or estimates it where they cannot be compiled for.

    Neither data nor tokenizer is read.

    Example::

      plan = plan_training(recipe, find_devices("v5e:8x8"))
      plan.fits, plan.memory.peak, wire_bytes_by_kind(plan.collectives)

    Args:
      recipe: with ``train.remat="auto"`` it is planned with the fastest that fits, or with the
        last one where none does.
      devices: of `ocijax.plan.topology.find_devices`, or those here.
      observe: told what is compiled.

    Raises:
      InputError: mesh, batch and model do not fit each other.
    """
    if recipe.train.remat == "auto":
        return plan_fastest_remat(recipe, devices, observe)
    mesh = make_mesh(recipe.mesh, devices)
    # Any number of steps: they are in the schedule only.
    optimizer = make_optimizer(recipe.train, trained_table(recipe), recipe.train.steps or 1000)
    state, batch = abstract_state(recipe, optimizer, mesh), abstract_batch(recipe, mesh)
    step = make_train_step(recipe, optimizer, mesh)
    rows = rows_at_once(recipe, mesh)
    arguments = bytes_on_a_device((state, batch))
    compiled = not isinstance(devices[0], AbsentGpu)
    begun = time.perf_counter()
    if compiled:
        observe(f"remat {recipe.train.remat}, rows a device: {rows}")
        program = compile_program(step.lower(state, batch), arguments)
        memory, collectives = program.memory, program.collectives
    else:
        held = bytes_on_a_device(state.parameters)
        trained = bytes_on_a_device([state.parameters[path] for path in trained_table(recipe)])
        memory, collectives = estimate_training(recipe, mesh, held, trained, arguments), ()
    return TrainingPlan(
        device_kind=devices[0].device_kind,
        devices=len(devices),
        mesh=dict(mesh.shape),
        memory_limit=memory_limit(devices[0]),
        compiled=compiled,
        seconds=time.perf_counter() - begun,
        parameters=bytes_on_a_device((state.parameters, state.frozen)),
        memory=memory,
        collectives=collectives,
        remat=recipe.train.remat,
        batch_size=recipe.train.batch_size,
        micro_batches=recipe.train.micro_batches,
        rows=rows,
        length=recipe.data.length,
        optimizer=bytes_on_a_device(state.optimizer),
        flops_per_token=flops_per_token(recipe),
    )


def plan_fastest_remat(
    recipe: Recipe,
    devices: Devices,
    observe: Observe = lambda doing: None,
) -> TrainingPlan:
    """The plan with the first of `REMATS` that fits; with the last one where none does.

    Where several processes are one run, all of them call this, and it is the first that fits in
    each: they may differ in the memory that they have left, and must run the same program.

    Raises:
      InputError: as `plan_training`.
    """
    for remat in REMATS:
        plan = plan_training(_with(recipe, remat=remat), devices, observe)
        if multihost_utils.process_allgather(np.array(plan.fits)).all():
            break
    return plan


def plan_best(
    recipe: Recipe,
    devices: Devices,
    observe: Observe = lambda doing: None,
    known: TrainingPlan | None = None,
) -> TrainingPlan:
    """The plan with the least recomputation that fits, then with the most rows beside it.

    Recomputing costs more than small batches do where rows are of thousands of tokens: what is
    gathered for them is gathered while they are computed. Where not even the last of `REMATS`
    fits with the recipe's rows, there are fewer; a plan that does not fit is that of one row.
    Rows go by powers of two, and the batch size with them; micro-batches stay.

    Args:
      recipe: what to plan.
      devices: as for `plan_training`.
      observe: likewise.
      known: the recipe's own plan, where there is one already.

    Raises:
      InputError: as `plan_training`.
    """
    rows = rows_at_once(recipe, make_mesh(recipe.mesh, devices))
    parts = recipe.train.batch_size // rows

    @cache
    def planned(remat: Remat, rows: int) -> TrainingPlan:
        if known and (known.remat, known.rows) == (remat, rows):
            return known
        changed = _with(recipe, remat=remat, batch_size=rows * parts)
        return plan_training(changed, devices, observe)

    fitting = (remat for remat in REMATS if planned(remat, rows).fits)
    remat = next(fitting, REMATS[-1])
    while not planned(remat, rows).fits and rows > 1:
        rows //= 2
    best = planned(remat, rows)
    while best.fits and (larger := planned(remat, best.rows * _growth(best))).fits:
        best = larger
    return best


def with_fastest_remat(recipe: Recipe, mesh: Mesh, observe: Observe = lambda doing: None) -> Recipe:
    """The recipe with ``train.remat="auto"`` replaced by the fastest that fits on this mesh.

    Raises:
      InputError: none fits.
    """
    if recipe.train.remat != "auto":
        return recipe
    plan = plan_fastest_remat(recipe, list(mesh.devices.flat), observe)
    if not plan.fits:
        raise InputError(
            f"config.train.remat: not even {plan.remat!r} fits: a step takes "
            f"{plan.memory.peak / GIBIBYTE:.1f} GiB of the {plan.memory_limit / GIBIBYTE:.1f} of "
            "each device; set config.train.micro_batches higher, or config.mesh to more devices"
        )
    return _with(recipe, remat=plan.remat)


def abstract_batch(recipe: Recipe, mesh: Mesh) -> Batch:
    """Shapes, dtypes and shardings of a batch, as `jax.ShapeDtypeStruct` leaves."""
    shape = (recipe.train.batch_size, recipe.data.length)
    integers = ("tokens", "positions", "segment_ids")
    dtypes = dict.fromkeys(integers, jnp.int32) | {"loss_weights": jnp.float32}
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        for name, dtype in dtypes.items()
    }


def flops_per_token(recipe: Recipe) -> float:
    """Operations of one forward and backward, in rows of one segment."""
    length = recipe.data.length
    window = min(recipe.model.sliding_window or length, length)
    # The first tokens see those before them, later ones a whole window.
    attended = window * (window + 1) / 2 + (length - window) * window
    return training_flops(recipe.model, length, attended, trained_table(recipe)) / length


def _growth(plan: TrainingPlan) -> int:
    """By how much to try more rows: by what memory is left for, and at least by two."""
    taken = max(1, plan.memory.temporaries)
    free = plan.memory_limit - plan.memory.peak + taken
    return max(2, 1 << min(free // taken, _MOST_GROWTH).bit_length() - 1)


def _with(recipe: Recipe, **settings) -> Recipe:
    """A recipe with other training settings."""
    return replace(recipe, train=replace(recipe.train, **settings))
