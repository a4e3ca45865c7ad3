"""A training step's memory by arithmetic, for devices that nothing here compiles for.

It counts what must be there: what the backward pass is given of each layer, the backward of one
layer, gathered weights, gradients and a chunk of logits. What a compiler adds is not in it.
"""

import math

import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.parameters import ParameterSpec, parameter_table
from ocijax.model.remat import Remat
from ocijax.plan.program import Memory
from ocijax.sharding import axis_size
from ocijax.train.config import Recipe
from ocijax.train.step import compute_on, rows_at_once

_WIDE = 4
"""Bytes of a number in fp32."""


def estimate_training(
    recipe: Recipe, mesh: Mesh, parameters: int, trained: int, arguments: int
) -> Memory:
    """Memory of one device in one step.

    Args:
      recipe: with a named ``train.remat``.
      mesh: over which it is split.
      parameters: bytes on one device of those that the state has in fp32.
      trained: bytes of those of them that are trained.
      arguments: bytes of state and batch on one device.
    """
    model, settings = recipe.model, recipe.train
    narrow = jnp.dtype(recipe.compute.dtype).itemsize
    rows = rows_at_once(recipe, mesh)
    length = recipe.data.length // axis_size(mesh, "length")
    tokens, layers = rows * length, model.num_hidden_layers
    kept, offloaded, whole = _layer_widths(recipe, mesh)
    # Every layer's input, what is kept beside it, and one layer with its gradients.
    activations = tokens * (layers * (model.hidden_size * narrow + kept) + 2 * whole)
    gradients = trained * (2 if settings.micro_batches > 1 else 1)
    table = parameter_table(model)
    in_layers = sum(_gathered(spec, mesh) for spec in table.values() if spec.stacked)
    ends = sum(_gathered(spec, mesh) for spec in table.values() if not spec.stacked)
    # Two layers: one is gathered while the other is computed. What a device holds itself is cast
    # once, before the loop over micro-batches.
    weights = narrow * (2 * in_layers // layers + ends + parameters // _WIDE)
    vocab = model.vocab_size // axis_size(mesh, "vocab")
    chunk = rows * min(settings.logits_chunk, length)
    logits = vocab * (chunk * (2 * _WIDE + narrow) + model.hidden_size * _WIDE)
    return Memory(
        arguments,
        temporaries=activations + gradients + weights + logits,
        host=tokens * layers * offloaded,
    )


def _layer_widths(recipe: Recipe, mesh: Mesh) -> tuple[int, int, int]:
    """Bytes a token and layer: kept on the device, kept on the host, and all there is to keep."""
    model = recipe.model
    narrow = jnp.dtype(recipe.compute.dtype).itemsize
    heads = model.num_attention_heads // axis_size(mesh, "heads")
    key_value_heads = -(-model.num_key_value_heads // axis_size(mesh, "key_value_heads"))
    query, key = heads * model.head_dim, key_value_heads * model.head_dim
    inner, hidden = model.intermediate_size // axis_size(mesh, "intermediate"), model.hidden_size
    context = query * narrow + heads * _WIDE
    projections = (query + 2 * key + hidden + inner * (2 if model.gated_mlp else 1)) * narrow
    # Masked attention has a weight for each pair of positions, in fp32 and as it is multiplied.
    pairs = heads * recipe.data.length if compute_on(mesh, recipe).attention == "masked" else 0
    weight = _WIDE + (narrow if narrow < _WIDE else 0)
    if recipe.compute.scan_layers or axis_size(mesh, "hidden") > 1:
        norms, rotated, activation = hidden * 2 * (_WIDE + narrow), query + key, 4 * inner
        kept_weight = weight + _WIDE + 1  # with the mask, and the zeros where it hides
    else:  # The compiler sees all of a layer's forward and backward, and keeps what is least.
        norms, rotated, activation = hidden * 2 * narrow, 0, inner
        kept_weight = _WIDE
    everything = context + projections + norms + (rotated + activation) * narrow
    kept: dict[Remat, tuple[int, int]] = {
        "none": (everything + pairs * kept_weight, 0),
        "projections": (context + projections, 0),
        "attention": (context, 0),
        "offload": (context, projections),
        "full": (0, 0),
    }
    return *kept[recipe.train.remat], everything + pairs * weight


def _gathered(spec: ParameterSpec, mesh: Mesh) -> int:
    """Elements of a parameter on one device once it is gathered over ``fsdp``."""
    return spec.size // math.prod(axis_size(mesh, axis) for axis in spec.axes if axis != "hidden")
