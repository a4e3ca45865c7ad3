"""Prefill and decode over a key-value cache, jitted; the host keeps everything but the cache.

A token's slot in the cache is its position: prompts are padded on the right, what padding wrote is
overwritten by the answer, and a query looks at the slots up to its own position only. A cache has
as many slots as its rows fill for now; `grow` makes room. Each layer has arrays of its own, and
decoding runs the layers unrolled, so that a step updates the arrays in place and copies none.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.attention import masked_attention, visible
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import Parameters
from ocijax.sample.choice import choose_tokens
from ocijax.sharding import named_sharding

_QUERY_BLOCK = 512
"""Queries of a long prompt that attend at once: what bounds the memory of their scores."""


class LayerCache(NamedTuple):
    """Keys and values of one layer, ``[batch, key_value_heads, slots, head_dim]``."""

    keys: jax.Array
    values: jax.Array


Cache = tuple[LayerCache, ...]
"""One for each layer."""


class Draws(NamedTuple):
    """How tokens are chosen, see `choose_tokens`; traced, so that no value compiles anything.

    Attributes:
      seed: uint32 scalar.
      temperature: scalar, 0 for greedy.
      top_p: scalar.
    """

    seed: jax.Array
    temperature: jax.Array
    top_p: jax.Array


class Rows(NamedTuple):
    """Where the answers of a batch stand; each ``[batch]`` int32.

    Attributes:
      tokens: the last token of each, of its prompt or its answer.
      positions: where that token stands.
      counts: tokens generated so far.
      limits: most tokens to generate; where there are as many already, the row rests.
      indices: a row draws by the seed, its index and the count, whatever the other rows are.
    """

    tokens: jax.Array
    positions: jax.Array
    counts: jax.Array
    limits: jax.Array
    indices: jax.Array


@partial(jax.jit, static_argnames=("config", "compute", "mesh"))
def prefill(
    parameters: Parameters,
    tokens: jax.Array,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
) -> Cache:
    """Reads prompts.

    Args:
      parameters: of the model.
      tokens: ``[batch, length]`` int32 prompts, padded on the right.
      config: the model's shape.
      compute: how its forward runs; layers by a scan compile much faster where there are many.
      mesh: the mesh that the parameters live on.

    Returns:
      A cache with ``length`` slots. `decode` goes on from a prompt's last token, reading it anew.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = Decoder(config, compute, parameters)
        tokens = jax.lax.with_sharding_constraint(tokens, named_sharding(mesh, ("batch", "length")))
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)

        batch, length = tokens.shape
        layers, heads = config.num_hidden_layers, config.num_key_value_heads
        empty = jnp.zeros((layers, batch, heads, length, config.head_dim), compute.dtype)

        def attend(index, query, key, value, stack):
            stack = LayerCache(
                stack.keys.at[index].set(key.swapaxes(1, 2)),
                stack.values.at[index].set(value.swapaxes(1, 2)),
            )
            return _causal_attention(query, key, value, config.sliding_window), stack

        _, stack = decoder.run_layers(tokens, positions, attend, LayerCache(empty, empty))
        cache = tuple(LayerCache(stack.keys[layer], stack.values[layer]) for layer in range(layers))
        return _pin(cache, mesh)


@partial(jax.jit, static_argnames=("config", "compute", "mesh", "steps"), donate_argnums=1)
def decode(
    parameters: Parameters,
    cache: Cache,
    rows: Rows,
    stop_ids: jax.Array,
    draws: Draws,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    steps: int,
) -> tuple[Cache, jax.Array]:
    """Generates up to ``steps`` more tokens of every answer.

    Args:
      parameters: of the model.
      cache: of the batch, with slots for ``steps`` positions from that of ``rows`` on, as far as
        answers are not limited before; donated.
      rows: where the answers stand.
      stop_ids: ``[stops]`` int32, tokens that end an answer.
      draws: how tokens are chosen.
      config: the model's shape.
      compute: how its forward runs, but for the layers, which are unrolled.
      mesh: the mesh that the parameters live on.
      steps: most tokens; ends earlier where all answers have ended.

    Returns:
      The cache, and ``[batch, steps]`` int32 the tokens, -1 after the end of an answer.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = Decoder(config, dataclasses.replace(compute, scan_layers=False), parameters)
        slots = jnp.arange(cache[0].keys.shape[2])

        def one_step(carry):
            step, cache, tokens, going, generated = carry
            # A row at rest writes over its own slots only, which nobody reads any more.
            positions, counts = rows.positions + step, rows.counts + step
            mask = visible(positions[:, None], slots, config.sliding_window)

            def attend(index, query, key, value, layers):
                del index
                (keys, values), *others = layers
                layer = LayerCache(_write(keys, key, positions), _write(values, value, positions))
                context = masked_attention(
                    query, layer.keys.swapaxes(1, 2), layer.values.swapaxes(1, 2), mask
                )
                # The layer that ran goes to the end: after the last one all are in order again.
                return context, (*others, layer)

            hidden, cache = decoder.run_layers(tokens[:, None], positions[:, None], attend, cache)
            tokens = _choose(decoder, hidden, rows.indices, counts, draws)
            generated = generated.at[:, step].set(jnp.where(going, tokens, -1))
            ended = (tokens[:, None] == stop_ids).any(-1) | (counts + 1 >= rows.limits)
            return step + 1, _pin(cache, mesh), tokens, going & ~ended, generated

        def unfinished(carry):
            step, _, _, going, _ = carry
            return (step < steps) & going.any()

        none = jnp.full((len(rows.tokens), steps), -1, jnp.int32)
        start = (0, cache, rows.tokens, rows.counts < rows.limits, none)
        _, cache, _, _, generated = jax.lax.while_loop(unfinished, one_step, start)
        return cache, _replicate(generated, mesh)


@partial(jax.jit, static_argnames=("mesh", "slots"))
def grow(cache: Cache, *, mesh: Mesh, slots: int) -> Cache:
    """The cache with so many slots, no fewer than it has."""

    def grown(array):
        return jnp.pad(array, [(0, 0), (0, 0), (0, slots - array.shape[2]), (0, 0)])

    return _pin(jax.tree.map(grown, cache), mesh)


def _choose(
    decoder: Decoder, hidden: jax.Array, indices: jax.Array, counts: jax.Array, draws: Draws
) -> jax.Array:
    """The token after hidden states ``[batch, 1, hidden]``; each count has a key of its own."""
    fold_in = jax.vmap(jax.random.fold_in)
    keys = jnp.broadcast_to(jax.random.key(draws.seed), counts.shape)
    keys = fold_in(fold_in(keys, indices), counts)
    return choose_tokens(decoder.logits(hidden[:, 0]), keys, draws.temperature, draws.top_p)


def _causal_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, window: int | None
) -> jax.Array:
    """Attention of whole prompts; padding, on the right, is never looked at by what is not."""
    length = query.shape[1]
    block = _QUERY_BLOCK if length % _QUERY_BLOCK == 0 else length

    def attend(start):
        queries = jax.lax.dynamic_slice_in_dim(query, start, block, axis=1)
        mask = visible(start + jnp.arange(block), jnp.arange(length), window)
        return masked_attention(queries, key, value, mask[None])

    if block == length:
        return attend(0)
    blocks = jax.lax.map(attend, jnp.arange(0, length, block))
    return blocks.swapaxes(0, 1).reshape(query.shape)


def _write(array: jax.Array, new: jax.Array, positions: jax.Array) -> jax.Array:
    """A layer's keys or values with those of one token a row, ``[batch, 1, heads, head_dim]``."""

    def write(row, token, position):
        return jax.lax.dynamic_update_slice(row, token, (0, position, 0))

    return jax.vmap(write)(array, new.swapaxes(1, 2), positions)


def _pin(cache: Cache, mesh: Mesh) -> Cache:
    """Rows over the batch axes, heads over ``tensor`` where it divides them."""
    axes = ("batch", "key_value_heads", "length", "head_dim")
    sharding = named_sharding(mesh, axes, cache[0].keys.shape)
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), cache)


def _replicate(array: jax.Array, mesh: Mesh) -> jax.Array:
    """Whole on every device, so that the host of each can read it."""
    return jax.lax.with_sharding_constraint(
        array, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    )
