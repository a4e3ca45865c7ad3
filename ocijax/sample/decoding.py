"""Prefill and decode over a key-value cache: two jitted functions that never hold a prompt twice.

The cache has a slot for every position of a row, so a token's slot is its position: prompts are
padded on the right, what padding wrote is overwritten by the answer, and a query looks at the
slots up to its own position only.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ocijax.model.attention import masked_attention, packed_mask
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import Parameters
from ocijax.sample.choice import choose_tokens
from ocijax.sharding import named_sharding


class Cache(NamedTuple):
    """Keys and values of every layer, ``[layers, batch, slots, key_value_heads, head_dim]``."""

    keys: jax.Array
    values: jax.Array


class Request(NamedTuple):
    """What one batch asks; all of it traced, so that no value compiles anything.

    Attributes:
      keys: ``[batch]`` PRNG keys, one for each answer.
      limits: ``[batch]`` int32, most tokens of each answer.
      stop_ids: ``[stops]`` int32, tokens that end an answer.
      temperature: scalar, 0 for greedy.
      top_p: scalar, see `choose_tokens`.
    """

    keys: jax.Array
    limits: jax.Array
    stop_ids: jax.Array
    temperature: jax.Array
    top_p: jax.Array


class Answers(NamedTuple):
    """Answers under way.

    Attributes:
      cache: holds every token but the last.
      token: ``[batch]`` int32, the last token of each row.
      position: ``[batch]`` int32, where it stands.
      generated: ``[batch]`` int32, tokens generated so far.
      done: ``[batch]`` bool, rows that are finished: they stay as they are.
    """

    cache: Cache
    token: jax.Array
    position: jax.Array
    generated: jax.Array
    done: jax.Array


def _next_token(
    decoder: Decoder, hidden: jax.Array, request: Request, generated: jax.Array
) -> jax.Array:
    """The token after hidden states ``[batch, width]``; each step has a key of its own."""
    keys = jax.vmap(jax.random.fold_in)(request.keys, generated)
    return choose_tokens(decoder.logits(hidden), keys, request.temperature, request.top_p)


def _ended(token: jax.Array, generated: jax.Array, request: Request) -> jax.Array:
    return (token[:, None] == request.stop_ids).any(-1) | (generated >= request.limits)


@partial(jax.jit, static_argnames=("config", "compute", "mesh", "slots"))
def prefill(
    parameters: Parameters,
    tokens: jax.Array,
    lengths: jax.Array,
    request: Request,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    slots: int,
) -> Answers:
    """Reads the prompts and generates the first token of each answer.

    Args:
      parameters: of the model.
      tokens: ``[batch, length]`` int32 prompts, padded on the right.
      lengths: ``[batch]`` int32; 0 marks a row without a request, which is done at once.
      request: how to answer.
      config: the model's shape.
      compute: how its forward runs.
      mesh: the mesh that the parameters live on.
      slots: slots of the cache, at least ``length``.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        batch, length = tokens.shape
        decoder = Decoder(config, compute, parameters)
        positions = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), tokens.shape)
        mask = packed_mask(positions, (positions < lengths[:, None]).astype(jnp.int32))
        shape = (
            config.num_hidden_layers,
            batch,
            slots,
            config.num_key_value_heads,
            config.head_dim,
        )
        empty = Cache(jnp.zeros(shape, compute.dtype), jnp.zeros(shape, compute.dtype))

        def attend(index, query, key, value, cache):
            cache = Cache(
                jax.lax.dynamic_update_slice(cache.keys, key[None], (index, 0, 0, 0, 0)),
                jax.lax.dynamic_update_slice(cache.values, value[None], (index, 0, 0, 0, 0)),
            )
            return masked_attention(query, key, value, mask), cache

        hidden, cache = decoder.run_layers(tokens, positions, attend, _constrain(empty, mesh))
        last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)
        none = jnp.zeros(batch, jnp.int32)
        token = _next_token(decoder, last[:, 0], request, none)
        done = _ended(token, none + 1, request) | (lengths == 0)
        return Answers(_constrain(cache, mesh), token, lengths, none + 1, done)


@partial(jax.jit, static_argnames=("config", "compute", "mesh", "steps"), donate_argnums=1)
def decode(
    parameters: Parameters,
    answers: Answers,
    request: Request,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    steps: int,
) -> tuple[Answers, jax.Array]:
    """Generates up to ``steps`` more tokens of every answer that is not done.

    Args:
      parameters: of the model.
      answers: as they stand; donated.
      request: as it was given to `prefill`.
      config: the model's shape.
      compute: how its forward runs.
      mesh: the mesh that the parameters live on.
      steps: most tokens; ends earlier where all rows are done.

    Returns:
      The answers, and ``[batch, steps]`` int32 the tokens generated here, -1 where there is none.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = Decoder(config, compute, parameters)
        batch, slots = answers.cache.keys.shape[1:3]
        rows = jnp.arange(batch)

        def one_step(carry):
            step, answers, generated = carry
            position = answers.position
            mask = (jnp.arange(slots) <= position[:, None])[:, None]

            def attend(index, query, key, value, cache):
                cache = Cache(
                    cache.keys.at[index, rows, position].set(key[:, 0]),
                    cache.values.at[index, rows, position].set(value[:, 0]),
                )
                context = masked_attention(query, cache.keys[index], cache.values[index], mask)
                return context, cache

            hidden, cache = decoder.run_layers(
                answers.token[:, None], position[:, None], attend, answers.cache
            )
            token = _next_token(decoder, hidden[:, 0], request, answers.generated)
            count = answers.generated + 1
            going = ~answers.done
            generated = generated.at[:, step].set(jnp.where(going, token, -1))
            answers = Answers(
                _constrain(cache, mesh),
                jnp.where(going, token, answers.token),
                jnp.where(going, position + 1, position),
                jnp.where(going, count, answers.generated),
                answers.done | _ended(token, count, request),
            )
            return step + 1, answers, generated

        def unfinished(carry):
            step, answers, _ = carry
            return (step < steps) & ~answers.done.all()

        none = jnp.full((batch, steps), -1, jnp.int32)
        _, answers, generated = jax.lax.while_loop(unfinished, one_step, (0, answers, none))
        return answers, generated


def _constrain(cache: Cache, mesh: Mesh) -> Cache:
    """Rows over the batch axes, heads over ``tensor`` where it divides them."""
    axes = ("layers", "batch", "length", "key_value_heads", "head_dim")
    sharding = named_sharding(mesh, axes, cache.keys.shape)
    return Cache(*(jax.lax.with_sharding_constraint(array, sharding) for array in cache))
