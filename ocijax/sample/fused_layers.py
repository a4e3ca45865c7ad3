"""A Llama's layers by two kernels and attention each, for few tokens on one Hopper GPU."""

from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.config import ModelConfig
from ocijax.model.decoder import Decoder
from ocijax.model.decoder import joined as joined_name
from ocijax.model.parameters import LAYERS
from ocijax.sample.fused_products import fused_products
from ocijax.sample.product_plan import ROWS, plan_products
from ocijax.sample.rotate_and_write import is_for_mosaic

_MOST_ROWS = 32
"""Of more, programs fetch more activations than weights."""
_PARAMETERS = {
    *("attention_norm", "query", "key", "value", "output"),
    *("mlp_norm", "gate", "up", "down"),
}
"""Of a layer of a Llama."""


def programs_for(
    config: ModelConfig, parameters: Collection[str], dtype: str, mesh: Mesh, rows: int
) -> int:
    """How many programs `run_layers` is to have, 0 where it is not for a model or a mesh.

    Args:
      config: the model's shape.
      parameters: their paths; a layer may have those of a Llama only.
      dtype: of weights, and of keys and values in the cache.
      mesh: of the devices.
      rows: tokens of a step.
    """
    layer = {path.removeprefix(LAYERS) for path in parameters if path.startswith(LAYERS)}
    scaled = config.norm == "rms_norm" and not config.norm_unit_offset
    llama = layer == _PARAMETERS and scaled and config.hidden_act == "silu"
    if not llama or rows > _MOST_ROWS or not is_for_mosaic(config, dtype, mesh):
        return 0
    attended = config.num_attention_heads * config.head_dim
    joined = attended + 2 * config.num_key_value_heads * config.head_dim
    programs = mesh.devices.flat[0].core_count
    plan = plan_products(
        rows, attended, config.hidden_size, config.intermediate_size, joined, programs
    )
    return programs if plan.fits else 0


def run_layers(
    decoder: Decoder,
    tokens: jax.Array,
    attend: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
    state: Any,
    programs: int,
) -> tuple[jax.Array, Any]:
    """As `Decoder.run_layers`, where `programs_for` is not 0.

    Args:
      decoder: with `ocijax.sample.weights.sampling_weights`, transposed.
      tokens: ``[slots, width]`` int32.
      attend: ``(joined, state) -> (context, state)``; ``joined`` is as
        `ocijax.sample.rotate_and_write` takes it, the context
        ``[slots, width, heads, head_dim]``.
      state: what ``attend`` is given first.
      programs: of each layer's products.

    Returns:
      Hidden states ``[slots, width, hidden]``, after the final norm, and the final state.
    """
    config, rows = decoder.config, tokens.size
    size, head_dim = config.hidden_size, config.head_dim
    embedded = decoder.embed(tokens)
    first = jnp.concatenate(decoder.layers[0].queries_keys_values(embedded, None), axis=2)
    joined = first.reshape(rows, -1)
    hidden = jnp.pad(embedded.reshape(rows, size), [(0, ROWS - rows), (0, 0)])
    for layer, following in pairwise(decoder.layers):
        context, state = attend(joined.reshape(len(joined), -1, head_dim), state)
        hidden, joined = fused_products(
            context.reshape(rows, -1),
            hidden,
            layer.parameter("output").reshape(size, -1),
            layer.parameter("mlp_norm"),
            layer.parameter(joined_name(("gate", "up"))).reshape(2, -1, size),
            layer.parameter("down"),
            following.parameter("attention_norm"),
            following.parameter(joined_name(("query", "key", "value"))).reshape(-1, size),
            epsilon=config.norm_eps,
            programs=programs,
        )
    context, state = attend(joined.reshape(len(joined), -1, head_dim), state)
    last = decoder.layers[-1].after_attention(hidden[:rows].reshape(embedded.shape), context)
    return decoder.norm("final_norm", last), state
