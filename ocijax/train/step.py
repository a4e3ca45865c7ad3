"""One training step: loss, gradient, update; a pure function, jitted with explicit shardings."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.errors import InputError
from ocijax.model.decoder import Decoder
from ocijax.model.parameters import (
    Parameters,
    init_parameters,
    parameter_shardings,
    parameter_table,
)
from ocijax.sharding import axis_size, constrain, named_sharding
from ocijax.train.config import Recipe
from ocijax.train.loss import Batch, batch_loss


class TrainState(NamedTuple):
    """What a step changes: the parameters by path and the optimizer's state over them."""

    parameters: Parameters
    optimizer: optax.OptState


Metrics = dict[str, jax.Array]
"""Scalars of one step: ``loss`` in nats per target, ``gradient_norm`` before clipping,
``targets`` (sum of the loss weights), ``tokens`` (padding left out) and ``attended`` (pairs of a
token and one that it sees, itself included)."""

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvaluationStep = Callable[[Parameters, Batch], tuple[jax.Array, jax.Array]]


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Where the rows of a batch live."""
    return named_sharding(mesh, ("batch", "length"))


def parameter_dtype(recipe: Recipe) -> jnp.dtype:
    """Parameters and optimizer state are in fp32, or in the compute dtype where that is wider."""
    return jnp.promote_types(recipe.compute.dtype, jnp.float32)


def initial_parameters(recipe: Recipe, mesh: Mesh) -> Parameters:
    """Fresh parameters of the recipe's seed; the same on every mesh."""
    init = jax.jit(
        lambda key: init_parameters(recipe.model, key, parameter_dtype(recipe)),
        out_shardings=parameter_shardings(recipe.model, mesh),
    )
    return init(jax.random.key(recipe.seed))


def initial_state(
    parameters: Parameters, recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state before the first step."""
    shardings = state_shardings(recipe, optimizer, mesh)
    init = jax.jit(optimizer.init, out_shardings=shardings.optimizer)
    return TrainState(parameters, init(parameters))


def abstract_state(
    recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Shapes, dtypes and shardings of the state, as `jax.ShapeDtypeStruct` leaves."""
    shardings = parameter_shardings(recipe.model, mesh)
    parameters = {
        path: jax.ShapeDtypeStruct(spec.shape, parameter_dtype(recipe), sharding=shardings[path])
        for path, spec in parameter_table(recipe.model).items()
    }
    everywhere = NamedSharding(mesh, PartitionSpec())
    # Moments live beside their parameters, counters everywhere.
    return TrainState(
        parameters,
        optax.tree.map_params(
            optimizer,
            lambda _, parameter: parameter,
            jax.eval_shape(optimizer.init, parameters),
            parameters,
            transform_non_params=lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=everywhere
            ),
        ),
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

    def loss_sum(parameters: Parameters, batch: Batch) -> tuple[jax.Array, jax.Array]:
        decoder = Decoder(recipe.model, recipe.compute, parameters)
        return batch_loss(decoder, batch, recipe.train.logits_chunk)

    def sums(parameters: Parameters, batch: Batch):
        """Loss, weight and gradient sums of one micro-batch."""
        (loss, weight), gradient = jax.value_and_grad(loss_sum, has_aux=True)(parameters, batch)
        # Left implicit, gradients come back replicated.
        return loss, weight, jax.lax.with_sharding_constraint(gradient, shardings.parameters)

    def accumulated(parameters: Parameters, batch: Batch):
        """The same over all micro-batches; each takes every ``parts``-th row of each device."""

        def split(array):
            array = jnp.moveaxis(array.reshape(-1, parts, *array.shape[1:]), 1, 0)
            return constrain(array, "micro_batches", "batch", "length")

        def body(carry, part):
            return jax.tree.map(jnp.add, carry, sums(parameters, part)), None

        part = jax.tree.map(split, batch)
        shapes = jax.eval_shape(sums, parameters, jax.tree.map(lambda array: array[0], part))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(body, zeros, part)[0]

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            run = sums if parts == 1 else accumulated
            loss, weight, gradient = run(state.parameters, batch)
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
        }
        parameters = optax.apply_updates(state.parameters, updates)
        return TrainState(parameters, optimizer_state), metrics

    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )


def make_evaluation_step(recipe: Recipe, mesh: Mesh) -> EvaluationStep:
    """The jitted ``(parameters, batch) -> (loss sum, weight sum)`` of `batch_loss`."""

    def evaluate(parameters: Parameters, batch: Batch) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            decoder = Decoder(recipe.model, recipe.compute, parameters)
            return batch_loss(decoder, batch, recipe.train.logits_chunk)

    return jax.jit(
        evaluate,
        in_shardings=(parameter_shardings(recipe.model, mesh), batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
