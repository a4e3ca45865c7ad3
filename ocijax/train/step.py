"""One training step: loss, gradient, update; a pure function, jitted with explicit shardings."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig
from ocijax.model.lora import adapter_table
from ocijax.model.packed_attention import check_kernel, choose_kernel, is_hopper
from ocijax.model.parameters import (
    Parameters,
    ParameterSpec,
    init_table,
    parameter_shardings,
    parameter_table,
    table_shardings,
)
from ocijax.sharding import axis_size, named_sharding
from ocijax.train.config import Recipe
from ocijax.train.gradient import gradient_function, loss_function
from ocijax.train.loss import Batch


class TrainState(NamedTuple):
    """What a step needs beside the batch.

    Attributes:
      parameters: by path: the model's, or an adapter's.
      optimizer: its state over those of them that are trained.
      frozen: the model's parameters under an adapter, which no step changes.
    """

    parameters: Parameters
    optimizer: optax.OptState
    frozen: Parameters = {}  # noqa: RUF012  never changed


Metrics = dict[str, jax.Array]
"""Scalars of one step: ``loss`` in nats per target, ``gradient_norm`` before clipping,
``targets`` (sum of the loss weights), ``tokens`` (padding left out), ``attended`` (pairs of a
token and one that it sees, itself included), ``skipped`` (updates so far, this one included) and
``skipped_in_a_row``, see `ocijax.train.guard`."""

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvaluationStep = Callable[[Parameters, Parameters, Batch], tuple[jax.Array, jax.Array]]


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Where the rows of a batch live, whole: the step shares them out along ``context``."""
    return named_sharding(mesh, ("batch",))


def parameter_dtype(recipe: Recipe) -> jnp.dtype:
    """Parameters and optimizer state are in fp32, or in the compute dtype where that is wider."""
    return jnp.promote_types(recipe.compute.dtype, jnp.float32)


def rows_at_once(recipe: Recipe, mesh: Mesh) -> int:
    """Rows of a micro-batch on one device.

    Raises:
      InputError: the batch does not divide into the micro-batches and over the mesh.
    """
    parts, shards = recipe.train.micro_batches, axis_size(mesh, "batch")
    if recipe.train.batch_size % (parts * shards):
        raise InputError(
            f"config.train.batch_size ({recipe.train.batch_size}) must be a multiple of "
            f"micro_batches ({parts}) times the {shards} devices along data and fsdp"
        )
    return recipe.train.batch_size // (parts * shards)


def compute_on(mesh: Mesh, recipe: Recipe) -> ComputeConfig:
    """The recipe's, with the attention kernel that runs on the devices of this mesh.

    Raises:
      InputError: that asked for does not run there.
    """
    compute, device = recipe.compute, mesh.devices.flat[0]
    if compute.fp8 and not is_hopper(device):
        raise InputError(
            f"config.compute.fp8 runs on Hopper and newer GPUs, not on {device.device_kind}; set "
            "it to False"
        )
    shape = recipe.model, compute.dtype, recipe.data.length, device, mesh.shape["context"]
    if compute.attention == "auto":
        return dataclasses.replace(compute, attention=choose_kernel(*shape))
    check_kernel(compute.attention, *shape)
    return compute


def state_table(recipe: Recipe) -> Mapping[str, ParameterSpec]:
    """The arrays that checkpoints hold: an adapter's, or all of the model."""
    if recipe.lora.rank:
        return adapter_table(recipe.model, recipe.lora)
    return parameter_table(recipe.model)


def trained_table(recipe: Recipe) -> Mapping[str, ParameterSpec]:
    """Those of them that the recipe trains."""
    kept = {"embedding"} if recipe.train.freeze_embedding else {}
    return {path: spec for path, spec in state_table(recipe).items() if path not in kept}


def initial_parameters(recipe: Recipe, mesh: Mesh) -> Parameters:
    """Fresh parameters, of the recipe's seed; the same on every mesh."""
    table = state_table(recipe)
    init = jax.jit(
        lambda key: init_table(table, key, parameter_dtype(recipe)),
        out_shardings=table_shardings(table, mesh),
    )
    return init(jax.random.key(recipe.seed))


def initial_state(
    parameters: Parameters,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    frozen: Parameters | None = None,
) -> TrainState:
    """The state before the first step; ``frozen`` are the model's parameters under an adapter."""
    shardings = state_shardings(recipe, optimizer, mesh)
    init = jax.jit(optimizer.init, out_shardings=shardings.optimizer)
    trained = {path: parameters[path] for path in trained_table(recipe)}
    return TrainState(parameters, init(trained), frozen or {})


def abstract_state(
    recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Shapes, dtypes and shardings of the state, as `jax.ShapeDtypeStruct` leaves."""

    def abstract(table: Mapping[str, ParameterSpec], dtype) -> dict[str, jax.ShapeDtypeStruct]:
        shardings = table_shardings(table, mesh)
        return {
            path: jax.ShapeDtypeStruct(spec.shape, dtype, sharding=shardings[path])
            for path, spec in table.items()
        }

    parameters = abstract(state_table(recipe), parameter_dtype(recipe))
    trained = {path: parameters[path] for path in trained_table(recipe)}
    frozen = parameter_table(recipe.model) if recipe.lora.rank else {}
    everywhere = NamedSharding(mesh, PartitionSpec())
    # Moments live beside their parameters, counters everywhere.
    return TrainState(
        parameters,
        optax.tree.map_params(
            optimizer,
            lambda leaf, parameter: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=parameter.sharding
            ),
            jax.eval_shape(optimizer.init, trained),
            trained,
            transform_non_params=lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=everywhere
            ),
        ),
        abstract(frozen, jnp.dtype(recipe.compute.dtype)),
    )


def state_shardings(
    recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Where the state lives."""
    return jax.tree.map(lambda leaf: leaf.sharding, abstract_state(recipe, optimizer, mesh))


def make_train_step(
    recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainStep:
    """The jitted step ``(state, batch) -> (state, metrics)``; the state is donated.

    The batch is run in ``recipe.train.micro_batches`` parts: gradients and weights are summed and
    divided once, so that the result does not depend on their number.

    Raises:
      InputError: the rows do not divide into the micro-batches, or their length not over the mesh.
    """
    rows_at_once(recipe, mesh)  # are a whole number
    _check_length(recipe, mesh)
    table, shardings = trained_table(recipe), state_shardings(recipe, optimizer, mesh)
    gradient_of = gradient_function(recipe, compute_on(mesh, recipe), mesh)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        trained = {path: state.parameters[path] for path in table}
        kept = {path: leaf for path, leaf in state.parameters.items() if path not in table}
        (loss, weight), gradient = gradient_of(trained, {**state.frozen, **kept}, batch)
        # A batch without any target has a gradient of zero, not of zero by zero.
        divisor = jnp.where(weight > 0, weight, 1)
        gradient = jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), gradient)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, trained)
        seen = jnp.where(batch["segment_ids"] > 0, batch["positions"] + 1, 0)
        seen = jnp.minimum(seen, recipe.model.sliding_window or seen.shape[1])
        metrics = {
            "loss": loss / divisor,
            "gradient_norm": optax.tree.norm(gradient),
            "targets": weight,
            "tokens": (batch["segment_ids"] > 0).sum(),
            "attended": seen.astype(jnp.float32).sum(),
            "skipped": optimizer_state.skipped,
            "skipped_in_a_row": optimizer_state.skipped_in_a_row,
        }
        parameters = {**kept, **optax.apply_updates(trained, updates)}
        return TrainState(parameters, optimizer_state, state.frozen), metrics

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )


def _check_length(recipe: Recipe, mesh: Mesh) -> None:
    parts, length = mesh.shape["context"], recipe.data.length
    if parts > 1 and length % (2 * parts):
        raise InputError(
            f"config.data.length ({length}) must be a multiple of twice the {parts} devices along "
            "context"
        )
    if length // parts % min(recipe.train.logits_chunk, length // parts):
        raise InputError(
            f"config.train.logits_chunk ({recipe.train.logits_chunk}) must divide the "
            f"{length // parts} tokens of a row on each of the {parts} devices along context"
        )


def make_evaluation_step(recipe: Recipe, mesh: Mesh) -> EvaluationStep:
    """The jitted ``(parameters, frozen, batch) -> (loss sum, weight sum)`` of `batch_loss`."""

    frozen = parameter_shardings(recipe.model, mesh) if recipe.lora.rank else {}
    return jax.jit(
        loss_function(recipe, compute_on(mesh, recipe), mesh),
        in_shardings=(table_shardings(state_table(recipe), mesh), frozen, batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
