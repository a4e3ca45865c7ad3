"""Loss and gradient of a batch: on each device of its own rows, then summed over devices.

Who holds and sends what is written out, by `jax.shard_map`, rather than left to the compiler. A
device has some of the rows and a part of each parameter. A parameter is cast to the compute dtype
and gathered over ``fsdp`` where a layer uses it, and once more in the backward pass; its gradient
is summed over the same devices and split, in that dtype and layer by layer, so that no model is
ever held whole. What then remains is summed over micro-batches on each device, in the dtype of the
parameters, and over ``data`` once a step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from ocijax.collectives import gather
from ocijax.model.context import shared_order
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.lora import adapter_table, with_adapter
from ocijax.model.parameters import Parameters, parameter_table
from ocijax.model.remat import Remat
from ocijax.sharding import BY_HAND, mesh_axes, only, partition_spec
from ocijax.train.config import Recipe
from ocijax.train.loss import Batch, batch_loss, with_targets

Loss = tuple[jax.Array, jax.Array]
"""The two sums of `batch_loss`, over all rows."""

LossFunction = Callable[[Parameters, Parameters, Batch], Loss]
"""``(trained, frozen, batch) -> loss``. Together the first two are the model's parameters, or
``trained`` is an adapter of ``frozen``."""

GradientFunction = Callable[[Parameters, Parameters, Batch], tuple[Loss, Parameters]]
"""``(trained, frozen, batch) -> (loss, gradient of its first sum by trained)``."""


def loss_function(recipe: Recipe, compute: ComputeConfig, mesh: Mesh) -> LossFunction:
    """The loss of a batch on this mesh."""
    loss = _loss_of_rows(recipe, compute, mesh, "none")

    def over_devices(trained: Parameters, frozen: Parameters, batch: Batch) -> Loss:
        return jax.lax.psum(loss(trained, frozen, batch), BY_HAND)

    return _on_each_device(over_devices, recipe, mesh, lambda trained: PartitionSpec())


def gradient_function(recipe: Recipe, compute: ComputeConfig, mesh: Mesh) -> GradientFunction:
    """Loss and gradient of a batch on this mesh, in ``recipe.train.micro_batches`` parts."""
    parts = recipe.train.micro_batches
    table = _table(recipe)
    loss_and_gradient = jax.value_and_grad(
        _loss_of_rows(recipe, compute, mesh, recipe.train.remat), has_aux=True
    )

    def accumulated(trained: Parameters, frozen: Parameters, batch: Batch):
        """Over the micro-batches, each of which takes every ``parts``-th row."""

        def split(array: jax.Array) -> jax.Array:
            return jnp.moveaxis(array.reshape(-1, parts, *array.shape[1:]), 1, 0)

        def body(carry, part: Batch):
            return jax.tree.map(jnp.add, carry, loss_and_gradient(trained, frozen, part)), None

        batches = jax.tree.map(split, batch)
        first = jax.tree.map(lambda array: array[0], batches)
        shapes = jax.eval_shape(loss_and_gradient, trained, frozen, first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(body, zeros, batches)[0]

    def over_devices(
        trained: Parameters, frozen: Parameters, batch: Batch
    ) -> tuple[Loss, Parameters]:
        run = loss_and_gradient if parts == 1 else accumulated
        loss, gradient = run(trained, frozen, batch)

        def summed(path: str, leaf: jax.Array) -> jax.Array:
            # Over the axes that split a parameter, its gradient is summed already.
            split = {name for axis in table[path].axes for name in mesh_axes(axis)}
            return jax.lax.psum(leaf, [name for name in BY_HAND if name not in split])

        gradient = {path: summed(path, leaf) for path, leaf in gradient.items()}
        return jax.lax.psum(loss, BY_HAND), gradient

    def out_specs(trained: Parameters):
        return PartitionSpec(), _specs(recipe, trained)

    return _on_each_device(over_devices, recipe, mesh, out_specs)


def _loss_of_rows(recipe: Recipe, compute: ComputeConfig, mesh: Mesh, remat: Remat) -> LossFunction:
    """The loss of a device's own rows, given its parts of the parameters."""
    table = _table(recipe)

    def whole(path: str, part: jax.Array) -> jax.Array:
        return gather(part, table[path].layer_axes, mesh)

    def loss(trained: Parameters, frozen: Parameters, batch: Batch) -> Loss:
        if recipe.lora.rank:
            parameters = with_adapter(frozen, trained, recipe.lora)
        else:
            parameters = {**frozen, **trained}
        decoder = Decoder(recipe.model, compute, parameters, whole)
        return batch_loss(decoder, batch, recipe.train.logits_chunk, remat)

    return loss


def _table(recipe: Recipe):
    """Every array that the decoder takes."""
    adapter = adapter_table(recipe.model, recipe.lora) if recipe.lora.rank else {}
    return {**parameter_table(recipe.model), **adapter}


def _specs(recipe: Recipe, parameters: Parameters) -> dict[str, PartitionSpec]:
    table = _table(recipe)
    return {path: only(partition_spec(table[path].axes), BY_HAND) for path in parameters}


def _on_each_device(
    function: Callable, recipe: Recipe, mesh: Mesh, out_specs: Callable[[Parameters], Any]
) -> Callable:
    """Runs a function of trained and frozen parameters and a batch on what each device has."""

    def run(trained: Parameters, frozen: Parameters, batch: Batch):
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(
                _specs(recipe, trained),
                _specs(recipe, frozen),
                only(partition_spec(("batch", "length")), BY_HAND),
            ),
            out_specs=out_specs(trained),
            # Axes of one device as well: nothing is left for the compiler, where that is so.
            axis_names={*BY_HAND, *(name for name, size in mesh.shape.items() if size == 1)},
            # Mosaic's and cuDNN's kernels do not say over which axes their results vary.
            check_vma=False,
        )(trained, frozen, shared(with_targets(batch)))

    def shared(batch: Batch) -> Batch:
        """The batch, its positions in the order in which devices along ``context`` have them."""
        parts = mesh.shape["context"]
        if parts == 1:
            return batch
        order = shared_order(recipe.data.length, parts)
        return jax.tree.map(lambda array: array[:, order], batch)

    return run
