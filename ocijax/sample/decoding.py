"""Prefill and decode over a key-value cache, jitted.

`prefill` fills places of a slot with what stands there in a conversation; `begin` chooses an
answer's first token where that was all of it; `decode` goes on from the last token, which it reads
itself. Where each answer stands is on the device as well (`Rows`), so that the host need not see
the tokens of one call to begin the next.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, Decoder, project, project_transposed
from ocijax.model.parameters import Parameters
from ocijax.model.rotary import angles
from ocijax.sample.cache import Cache, LayerCache, as_held, as_read, pin
from ocijax.sample.choice import choose_tokens, log_probabilities
from ocijax.sample.decode_attention import DecodeKernel, attend_to_slots
from ocijax.sample.fused_layers import run_layers
from ocijax.sample.lookup import look_up
from ocijax.sample.prefill_attention import PrefillKernel, attend_to_prompt
from ocijax.sample.rotate_and_write import rotate_and_write


class Rows(NamedTuple):
    """Where the answer in each slot stands, and how its tokens are chosen; each ``[slots]``.

    Attributes:
      tokens: int32, the last token, of the prompt or the answer.
      positions: int32, where that token stands.
      counts: int32, tokens generated so far.
      limits: int32, most tokens to generate; where there are as many already, the row rests.
      seeds: uint32, what it draws by, with ``indices`` and the count.
      indices: int32, tells rows of one seed apart.
      temperature: float32, 0 for greedy.
      top_p: float32, see `choose_tokens`.
      top_k: int32, likewise.
      scored: bool, whether the log-probabilities of its tokens are wanted.
    """

    tokens: jax.Array
    positions: jax.Array
    counts: jax.Array
    limits: jax.Array
    seeds: jax.Array
    indices: jax.Array
    temperature: jax.Array
    top_p: jax.Array
    top_k: jax.Array
    scored: jax.Array


DTYPES = Rows(*["int32"] * 4, "uint32", "int32", "float32", "float32", "int32", "bool")
"""Of each field."""


class Generated(NamedTuple):
    """What a call of `decode` generated, or one of `begin`, which is one token at most.

    Attributes:
      tokens: ``[slots, steps * (1 + draft_tokens)]`` int32, with -1 behind them.
      log_probabilities: of each, fp32, by the logits alone, whatever it was drawn by; zero in rows
        of which none are wanted.
      forwards: in how many they were generated, ``[slots]`` int32.
    """

    tokens: jax.Array
    log_probabilities: jax.Array
    forwards: jax.Array


@partial(jax.jit, static_argnames="mesh", donate_argnums=0)
def set_rows(rows: Rows, slots: jax.Array, new: Rows, *, mesh: Mesh) -> Rows:
    """The rows with new ones in some slots.

    Args:
      rows: where answers stand; donated.
      slots: ``[any]`` int32; those that there are not are passed over.
      new: as many rows.
      mesh: where they are, whole on each device.
    """

    def placed(old: jax.Array, field: jax.Array) -> jax.Array:
        return _everywhere(old.at[slots].set(field, mode="drop"), mesh)

    return jax.tree.map(placed, rows, new)


@partial(jax.jit, static_argnames="mesh", donate_argnums=0)
def set_chunks(
    chunks: tuple[jax.Array, ...], new: tuple[jax.Array, ...], *, mesh: Mesh
) -> tuple[jax.Array, ...]:
    """New arguments of `prefill` where others of their shapes are, which are donated."""
    return tuple(
        _everywhere(old.at[:].set(array), mesh) for old, array in zip(chunks, new, strict=True)
    )


@partial(jax.jit, static_argnames="mesh", donate_argnums=0)
def set_history(history: jax.Array, slot: jax.Array, tokens: jax.Array, *, mesh: Mesh) -> jax.Array:
    """The history of `decode` with the tokens ``[places]`` int32 of one slot's conversation."""
    return _everywhere(history.at[slot].set(tokens), mesh)


@partial(
    jax.jit,
    static_argnames=("config", "compute", "mesh", "transposed", "window", "kernel"),
    donate_argnames=("cache", "hidden"),
)
def prefill(
    parameters: Parameters,
    cache: Cache,
    hidden: jax.Array,
    tokens: jax.Array,
    slots: jax.Array,
    starts: jax.Array,
    ends: jax.Array,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    window: int,
    kernel: PrefillKernel,
    transposed: bool = False,
) -> tuple[Cache, jax.Array]:
    """Reads a chunk of some conversations into their slots.

    Args:
      parameters: of the model, see `ocijax.sample.weights.sampling_weights`.
      cache: in which all before ``starts`` was read; donated.
      hidden: ``[rows, hidden]``, of any values, where those returned are to be; donated.
      tokens: ``[rows, length]`` int32, with anything behind what there is to read; what is written
        there is overwritten before it is seen. Equal rows may stand for none.
      slots: ``[rows]`` int32.
      starts: ``[rows]`` int32, position of the first token; the cache has room for ``length`` more.
      ends: ``[rows]`` int32, which of ``tokens`` is the last that there is to read.
      config: the model's shape.
      compute: how its forward runs; ``fp8`` does not count.
      mesh: the mesh that the parameters live on.
      window: places of a slot, from the first, that may be looked at: no fewer than
        ``starts + length``; 0: all begin at the first place, and only ``tokens`` are looked at.
        Otherwise none begins there.
      kernel: for attention, see `ocijax.sample.prefill_attention`.
      transposed: whether the weights are, see `ocijax.sample.weights.sampling_weights`.

    Returns:
      The cache, and the hidden states at ``ends``, ``[rows, hidden]``.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = _decoder(config, compute, parameters, transposed)
        positions = starts[:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)

        def attend(index, query, key, value, layers):
            layer, *others = layers
            new, held = as_held(key, value, layer), None
            layer = _each(lambda old, new: _write_rows(old, new, slots, starts), layer, new)
            if window:
                places = _each(lambda array: _places(array, slots, window), layer)
                held = as_read(places, compute.dtype)
            key, value = as_read(new, compute.dtype)
            context = attend_to_prompt(
                kernel, query, key, value, held, starts, config.sliding_window
            )
            # The layer that ran goes to the end: after the last one all are in order again.
            return context, (*others, layer)

        *layers, last = decoder.layers
        states = decoder.embed(tokens)
        for index, layer in enumerate(layers):
            states, cache = layer(index, states, positions, attend, cache)
        # What the last layer makes of its attention is looked at for the last tokens alone.
        context, cache = attend(len(layers), *last.queries_keys_values(states, positions), cache)
        at_ends = last.after_attention(_at_ends(states, ends), _at_ends(context, ends))
        new = decoder.norm("final_norm", at_ends)[:, 0]
        return pin(cache, mesh), _everywhere(hidden.at[:].set(new), mesh)


@partial(
    jax.jit,
    static_argnames=("config", "compute", "mesh", "transposed"),
    donate_argnames=("rows", "history"),
)
def begin(
    parameters: Parameters,
    rows: Rows,
    history: jax.Array,
    stop_ids: jax.Array,
    hidden: jax.Array,
    slots: jax.Array,
    new: Rows,
    prompts: jax.Array,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    transposed: bool = False,
) -> tuple[Rows, jax.Array, Generated]:
    """Chooses the first tokens of some answers.

    Args:
      parameters: of the model, see `ocijax.sample.weights.sampling_weights`.
      rows: where the answers stand; donated.
      history: as of `decode`; donated.
      stop_ids: ``[stops]`` int32, tokens that end an answer.
      hidden: states of `prefill` at the last tokens of conversations, ``[any, hidden]``.
      slots: ``[any]`` int32, where these are; those that there are not are passed over.
      new: as many rows, about to read these last tokens.
      prompts: ``[any, places]`` int32, their tokens, or ``[any, 0]`` where the history is empty.
      config: the model's shape.
      compute: how its forward runs; ``fp8`` does not count.
      mesh: the mesh that the parameters live on.
      transposed: whether the weights are, see `ocijax.sample.weights.sampling_weights`.

    Returns:
      The rows, the history, and what was chosen.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = _decoder(config, compute, parameters, transposed)
        chosen, scores = (array[:, 0] for array in _choose(decoder, hidden[:, None], new))

        def placed(array: jax.Array, new: jax.Array) -> jax.Array:
            return array.at[slots].set(new, mode="drop")

        if history.shape[1]:
            history = placed(history, prompts)
            history = history.at[slots, new.positions + 1].set(chosen, mode="drop")
        one = jnp.ones_like(slots)
        rows = jax.tree.map(placed, rows, _advanced(new, one > 0, one, chosen, stop_ids))
        none = jnp.full((len(rows.tokens), 1), -1, jnp.int32)
        generated = Generated(
            placed(none, chosen[:, None]),
            placed(jnp.zeros_like(none, jnp.float32), scores[:, None]),
            placed(none[:, 0] + 1, one),
        )
        found = rows, history, generated
        return jax.tree.map(lambda array: _everywhere(array, mesh), found)


@partial(
    jax.jit,
    static_argnames=(
        *("config", "compute", "mesh", "transposed"),
        *("steps", "window", "kernel", "draft_tokens", "fused_write", "programs"),
    ),
    donate_argnames=("cache", "rows", "history"),
)
def decode(
    parameters: Parameters,
    cache: Cache,
    rows: Rows,
    history: jax.Array,
    stop_ids: jax.Array,
    *,
    config: ModelConfig,
    compute: ComputeConfig,
    mesh: Mesh,
    steps: int,
    window: int,
    kernel: DecodeKernel,
    draft_tokens: int = 0,
    fused_write: bool = False,
    programs: int = 0,
    transposed: bool = False,
) -> tuple[Cache, Rows, jax.Array, Generated]:
    """Generates more tokens of every answer, in up to ``steps`` forwards.

    With ``draft_tokens`` each forward also reads what followed where the conversation said the same
    before (see `ocijax.sample.lookup`), and takes of it what it would have generated itself: the
    answer is the same, token for token, but for how numbers are rounded in products of more rows.

    Args:
      parameters: of the model, see `ocijax.sample.weights.sampling_weights`.
      cache: in which all before the last token of every answer was read; it has ``draft_tokens``
        places beside those that answers fill; donated.
      rows: where the answers stand; donated.
      history: ``[slots, places]`` int32, the tokens of each conversation by their positions, or
        ``[slots, 0]`` where none are ever looked up; donated.
      stop_ids: ``[stops]`` int32, tokens that end an answer.
      config: the model's shape.
      compute: how its forward runs; ``fp8`` does not count.
      mesh: the mesh that the parameters live on.
      steps: most forwards; ends earlier where all answers have ended.
      window: places of a slot, from the first, that may be looked at: more than any answer fills.
      kernel: for attention of one token, see `ocijax.sample.decode_attention`.
      draft_tokens: tokens that are looked up for each forward.
      fused_write: whether to write to the cache by `ocijax.sample.rotate_and_write`.
      programs: of `ocijax.sample.fused_layers`, which need a fused write and transposed weights;
        0: not by that.
      transposed: whether the weights are, see `ocijax.sample.weights.sampling_weights`.

    Returns:
      The cache, the rows, the history, and what was generated.
    """
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        decoder = _decoder(config, compute, parameters, transposed)
        width = 1 + draft_tokens
        rest = cache[0].keys.shape[2] - width

        def one_step(carry):
            step, cache, rows, history, (generated, filled) = carry
            going = rows.counts < rows.limits
            drafted = look_up(history, rows.positions, draft_tokens)
            chunk = jnp.concatenate([rows.tokens[:, None], jnp.maximum(drafted, 0)], axis=1)
            positions = rows.positions[:, None] + jnp.arange(width, dtype=jnp.int32)
            # What a row at rest has read stays as it is: its conversation may go on.
            places = jnp.where(going, rows.positions, rest)
            lengths = jnp.where(going, rows.positions + 1, 1)

            def attend_to(query, layer):
                keys, values = as_read(
                    _each(lambda held: held[:, :, :window], layer), compute.dtype
                )
                return attend_to_slots(kernel, query, keys, values, lengths, config.sliding_window)

            def attend_fused(joined, layers):
                layer, *others = layers
                turns = angles(positions, config, jnp.float32)
                query, *held = rotate_and_write(joined, turns, layer.keys, layer.values, places)
                layer = LayerCache(*held)
                return attend_to(query, layer), (*others, layer)

            def attend(index, query, key, value, layers):
                if fused_write:
                    joined = jnp.concatenate([query, key, value], axis=2)
                    return attend_fused(joined.reshape(-1, *joined.shape[2:]), layers)
                layer, *others = layers
                new = as_held(key, value, layer)
                layer = _each(lambda held, new: _write(held, new, places), layer, new)
                return attend_to(query, layer), (*others, layer)

            if programs:
                hidden, cache = run_layers(decoder, chunk, attend_fused, cache, programs)
            else:
                hidden, cache = decoder.run_layers(
                    chunk, None if fused_write else positions, attend, cache
                )
            tokens, scores = _choose(decoder, hidden, rows)
            # A draft stands as far as it is what is chosen after what stands before it.
            right = jnp.cumprod(drafted == tokens[:, :-1], axis=1).sum(axis=1)
            ends = (tokens[:, :, None] == stop_ids).any(-1)
            before_end = jnp.where(ends.any(axis=1), ends.argmax(axis=1), draft_tokens)
            new = 1 + jnp.minimum(right, before_end)
            new = jnp.where(going, jnp.minimum(new, rows.limits - rows.counts), 0)
            last = jnp.take_along_axis(tokens, jnp.maximum(new - 1, 0)[:, None], axis=1)[:, 0]

            kept = jnp.where(jnp.arange(width) < new[:, None], tokens, -1)
            generated = Generated(
                _write_tokens(generated.tokens, kept, filled),
                _write_tokens(generated.log_probabilities, scores, filled),
                generated.forwards + going,
            )
            if history.shape[1]:
                history = _write_tokens(history, tokens, jnp.where(going, rows.positions + 1, rest))
            rows = _advanced(rows, going, new, last, stop_ids)
            return step + 1, pin(cache, mesh), rows, history, (generated, filled + new)

        def unfinished(carry):
            step, _, rows, *_ = carry
            return (step < steps) & (rows.counts < rows.limits).any()

        slots = len(rows.tokens)
        none = jnp.full((slots, steps * width), -1, jnp.int32)
        zeros = jnp.zeros(slots, jnp.int32)
        generated = Generated(none, jnp.zeros_like(none, jnp.float32), zeros)
        carry = (0, cache, rows, history, (generated, zeros))
        _, cache, *others = jax.lax.while_loop(unfinished, one_step, carry)
        rows, history, (generated, _) = jax.tree.map(lambda array: _everywhere(array, mesh), others)
        return cache, rows, history, generated


_each = jax.tree.map
"""Of a layer's keys, values and scales."""


def _everywhere(array: jax.Array, mesh: Mesh) -> jax.Array:
    """Whole on every device, so that the host of each can read it."""
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, PartitionSpec()))


def _decoder(
    config: ModelConfig, compute: ComputeConfig, parameters: Parameters, transposed: bool
) -> Decoder:
    # Scales of products in eight bits are those of all rows: answers would depend on others.
    compute = replace(compute, fp8=False)
    return Decoder(
        config, compute, parameters, project=project_transposed if transposed else project
    )


def _advanced(
    rows: Rows, going: jax.Array, new: jax.Array, last: jax.Array, stop_ids: jax.Array
) -> Rows:
    """The rows after so many new tokens of each, of which the last are known."""
    counts = rows.counts + new
    ended = going & (last[:, None] == stop_ids).any(-1)
    return rows._replace(
        tokens=jnp.where(going, last, rows.tokens),
        positions=rows.positions + new,
        counts=counts,
        limits=jnp.where(ended, counts, rows.limits),
    )


def _choose(decoder: Decoder, hidden: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """The token after each of hidden states ``[slots, width, hidden]``, and its log-probability.

    Each count has a key of its own, so that what is drawn does not depend on how many at once are.
    """
    slots, width, _ = hidden.shape

    def each(array: jax.Array) -> jax.Array:
        return jnp.repeat(array, width)

    def by_settings(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        counts = (rows.counts[:, None] + jnp.arange(width, dtype=jnp.int32)).reshape(-1)
        fold_in = jax.vmap(jax.random.fold_in)
        keys = jax.vmap(jax.random.key)(each(rows.seeds))
        keys = fold_in(fold_in(keys, each(rows.indices)), counts)
        settings = map(each, (rows.temperature, rows.top_p, rows.top_k))
        tokens = choose_tokens(logits, keys, *settings)
        return tokens, log_probabilities(logits, tokens, each(rows.scored))

    def greedily(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return tokens, jnp.zeros(tokens.shape, jnp.float32)

    logits = decoder.logits(hidden.reshape(slots * width, -1))
    # One branch for what mostly all rows want, instead of one for each: a GPU waits at every one.
    plain = ~((rows.temperature > 0) | rows.scored).any()
    tokens, scores = jax.lax.cond(plain, greedily, by_settings, logits)
    return tokens.reshape(slots, width), scores.reshape(slots, width)


def _write(array: jax.Array, new: jax.Array, places: jax.Array) -> jax.Array:
    """A layer's keys or values with those from some place on, ``[slots, any, heads, head_dim]``."""
    if len(array) == 1:  # Of one slot alone XLA would look first whether the place is inside.
        return jax.lax.dynamic_update_slice(array, new.swapaxes(1, 2), (0, 0, places[0], 0))

    def write(slot, token, place):
        return jax.lax.dynamic_update_slice(slot, token, (0, place, 0))

    return jax.vmap(write)(array, new.swapaxes(1, 2), places)


def _write_tokens(array: jax.Array, new: jax.Array, places: jax.Array) -> jax.Array:
    """Tokens ``[slots, any]`` with new ones from a place in each row on."""

    def write(row, tokens, place):
        return jax.lax.dynamic_update_slice(row, tokens, (place,))

    return jax.vmap(write)(array, new, places)


def _at_ends(array: jax.Array, ends: jax.Array) -> jax.Array:
    """What stands at the end of each row ``[rows, length, ...]``, ``[rows, 1, ...]``."""
    return array[jnp.arange(len(ends)), ends][:, None]


def _write_rows(array: jax.Array, new: jax.Array, slots: jax.Array, starts: jax.Array) -> jax.Array:
    """A layer's keys or values with those of some rows, ``[rows, length, heads, head_dim]``."""
    for row, slot, start in zip(new.swapaxes(1, 2), slots, starts, strict=True):
        array = jax.lax.dynamic_update_slice(array, row[None], (slot, 0, start, 0))
    return array


def _places(array: jax.Array, slots: jax.Array, window: int) -> jax.Array:
    """The first places of some slots, ``[rows, heads, window, head_dim]``."""
    _, heads, _, head_dim = array.shape
    rows = [
        jax.lax.dynamic_slice(array, (slot, 0, 0, 0), (1, heads, window, head_dim))
        for slot in slots
    ]
    return jnp.concatenate(rows)
