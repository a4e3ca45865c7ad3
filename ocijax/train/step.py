"""One training step: loss, gradient, update; a pure function, jitted with explicit shardings."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.lora import adapter_table, with_adapter
from ocijax.model.packed_attention import check_kernel, choose_kernel, is_hopper
from ocijax.model.parameters import (
    Parameters,
    ParameterSpec,
    init_table,
    parameter_shardings,
    parameter_table,
    table_shardings,
)
from ocijax.sharding import axis_size, constrain, named_sharding
from ocijax.train.config import Recipe
from ocijax.train.loss import Batch, batch_loss


class TrainState(NamedTuple):
    """What a step needs beside the batch.

    Attributes:
      parameters: those that are trained, by path: the model's, or an adapter's.
      optimizer: its state over them.
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
    """Where the rows of a batch live."""
    return named_sharding(mesh, ("batch", "length"))


def parameter_dtype(recipe: Recipe) -> jnp.dtype:
    """Parameters and optimizer state are in fp32, or in the compute dtype where that is wider."""
    return jnp.promote_types(recipe.compute.dtype, jnp.float32)


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
    shape = recipe.model, compute.dtype, recipe.data.length, device
    if compute.attention == "auto":
        return dataclasses.replace(compute, attention=choose_kernel(*shape))
    check_kernel(compute.attention, *shape)
    return compute


def trained_table(recipe: Recipe) -> Mapping[str, ParameterSpec]:
    """The arrays that the recipe trains: an adapter's, or all of the model."""
    if recipe.lora.rank:
        return adapter_table(recipe.model, recipe.lora)
    return parameter_table(recipe.model)


def initial_parameters(recipe: Recipe, mesh: Mesh) -> Parameters:
    """Fresh parameters to train, of the recipe's seed; the same on every mesh."""
    table = trained_table(recipe)
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
    return TrainState(parameters, init(parameters), frozen or {})


def whole_model(recipe: Recipe, parameters: Parameters, frozen: Parameters) -> Parameters:
    """What the decoder takes: the parameters trained, on the frozen ones where they adapt those."""
    return with_adapter(frozen, parameters, recipe.lora) if recipe.lora.rank else parameters


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

    parameters = abstract(trained_table(recipe), parameter_dtype(recipe))
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
            jax.eval_shape(optimizer.init, parameters),
            parameters,
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
      InputError: the rows do not divide into the micro-batches over the mesh.
    """
    parts = recipe.train.micro_batches
    shards = axis_size(mesh, "batch")
    if recipe.train.batch_size % (parts * shards):
        raise InputError(
            f"config.train.batch_size ({recipe.train.batch_size}) must be a multiple of "
            f"micro_batches ({parts}) times the {shards} devices along data and fsdp"
        )
    shardings = state_shardings(recipe, optimizer, mesh)
    compute = compute_on(mesh, recipe)

    def loss_sum(
        parameters: Parameters, frozen: Parameters, batch: Batch
    ) -> tuple[jax.Array, jax.Array]:
        whole = whole_model(recipe, parameters, frozen)
        decoder = Decoder(recipe.model, compute, whole)
        return batch_loss(decoder, batch, recipe.train.logits_chunk, recipe.train.remat)

    def sums(parameters: Parameters, frozen: Parameters, batch: Batch):
        """Loss, weight and gradient sums of one micro-batch."""
        gradient_of = jax.value_and_grad(loss_sum, has_aux=True)
        (loss, weight), gradient = gradient_of(parameters, frozen, batch)
        # Left implicit, gradients come back replicated.
        return loss, weight, jax.lax.with_sharding_constraint(gradient, shardings.parameters)

    def accumulated(parameters: Parameters, frozen: Parameters, batch: Batch):
        """The same over all micro-batches; each takes every ``parts``-th row of each device."""

        def split(array):
            array = jnp.moveaxis(array.reshape(-1, parts, *array.shape[1:]), 1, 0)
            return constrain(array, "micro_batches", "batch", "length")

        def body(carry, part):
            return jax.tree.map(jnp.add, carry, sums(parameters, frozen, part)), None

        part = jax.tree.map(split, batch)
        first = jax.tree.map(lambda array: array[0], part)
        shapes = jax.eval_shape(sums, parameters, frozen, first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(body, zeros, part)[0]

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            run = sums if parts == 1 else accumulated
            loss, weight, gradient = run(state.parameters, state.frozen, batch)
        # A batch without any target has a gradient of zero, not of zero by zero.
        divisor = jnp.where(weight > 0, weight, 1)
        gradient = jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), gradient)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.parameters)
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
        parameters = optax.apply_updates(state.parameters, updates)
        return TrainState(parameters, optimizer_state, state.frozen), metrics

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )


def make_evaluation_step(recipe: Recipe, mesh: Mesh) -> EvaluationStep:
    """The jitted ``(parameters, frozen, batch) -> (loss sum, weight sum)`` of `batch_loss`."""

    compute = compute_on(mesh, recipe)

    def evaluate(
        parameters: Parameters, frozen: Parameters, batch: Batch
    ) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            decoder = Decoder(recipe.model, compute, whole_model(recipe, parameters, frozen))
            return batch_loss(decoder, batch, recipe.train.logits_chunk)

    frozen = parameter_shardings(recipe.model, mesh) if recipe.lora.rank else {}
    return jax.jit(
        evaluate,
        in_shardings=(table_shardings(trained_table(recipe), mesh), frozen, batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
