"""Weights, and keys and values, in eight bits: the answers are those of the rounded numbers."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.attention import masked_attention, visible
from ocijax.model.decoder import Decoder
from ocijax.model.parameters import parameter_table
from ocijax.sample.cache import abstract_cache
from ocijax.sample.sampler import Sampler
from ocijax.sharding import MeshConfig, bytes_on_a_device, make_mesh
from ocijax.template import LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG, GREEDY, conversation

ASKED = [conversation(words) for words in (1, 5, 14, 3, 20)]


def rounded(array: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The nearest multiples of a 127th of the greatest along an axis."""
    step = np.abs(array).max(axis=axis, keepdims=True) / np.float32(127)
    return np.round(array / step) * step


def with_rounded_weights(parameters, config):
    table = parameter_table(config)
    products = {path for path, spec in table.items() if spec.stacked and spec.inputs}
    axes = {path: tuple(range(1, 1 + table[path].inputs)) for path in products}
    rounds = {path: rounded(np.asarray(parameters[path]), axes[path]) for path in products}
    return parameters | jax.tree.map(jnp.asarray, rounds)


@partial(jax.jit, static_argnames=("config", "rounds"))
def likeliest(parameters, tokens, config, rounds):
    """The token after each position, by a forward over all that may round keys and values."""

    def attend(index, query, key, value, state):
        if rounds:
            scales = [jnp.abs(one).max(axis=-1, keepdims=True) / 127 for one in (key, value)]
            key, value = jnp.round(key / scales[0]), jnp.round(value / scales[1])
            key, value = key * scales[0], value * scales[1]
        mask = visible(positions, jnp.arange(tokens.shape[1]), config.sliding_window)
        return masked_attention(query, key, value, mask), state

    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    decoder = Decoder(config, COMPUTE, parameters)
    hidden, _ = decoder.run_layers(tokens, positions, attend, None)
    return jnp.argmax(decoder.logits(hidden), axis=-1)


def assert_answered(parameters, tokenizer, completions, config=CONFIG, rounds=False):
    for asked, completion in zip(ASKED, completions, strict=True):
        prompt = tokenize(asked, LLAMA2, tokenizer).tokens
        whole = np.zeros((1, config.max_position_embeddings), np.int32)
        length = len(prompt) + len(completion.tokens)
        whole[0, :length] = [*prompt, *completion.tokens]
        expected = np.asarray(likeliest(parameters, whole, config, rounds))[0]
        assert expected[len(prompt) - 1 : length - 1].tolist() == list(completion.tokens)


@pytest.mark.parametrize("draft_tokens", [0, 3])
def test_answers_are_those_of_a_model_with_rounded_weights(parameters, tokenizer, draft_tokens):
    sampler = Sampler(
        *(CONFIG, parameters, tokenizer, LLAMA2),
        compute=COMPUTE,
        slots=3,
        draft_tokens=draft_tokens,
        int8_weights=True,
    )
    completions = sampler.generate(ASKED, GREEDY)
    assert_answered(with_rounded_weights(parameters, CONFIG), tokenizer, completions)


@pytest.mark.parametrize("draft_tokens", [0, 3])
def test_answers_are_those_of_a_model_that_rounds_keys_and_values(
    parameters, tokenizer, draft_tokens
):
    sampler = Sampler(
        *(CONFIG, parameters, tokenizer, LLAMA2),
        compute=COMPUTE,
        slots=3,
        draft_tokens=draft_tokens,
        int8_cache=True,
    )
    assert_answered(parameters, tokenizer, sampler.generate(ASKED, GREEDY), rounds=True)


def test_what_another_conversation_left_is_gone_on_from_as_if_read_at_once(parameters, tokenizer):
    choices = {"compute": COMPUTE, "slots": 2, "int8_cache": True}
    known, fresh = (Sampler(CONFIG, parameters, tokenizer, LLAMA2, **choices) for _ in range(2))
    known.generate([conversation(25)], GREEDY)
    before = known.prefilled_tokens
    answers = [one.generate([conversation(30)], GREEDY) for one in (known, fresh)]
    assert answers[0] == answers[1]
    assert known.prefilled_tokens - before < fresh.prefilled_tokens


def test_nearly_twice_as_many_conversations_fit():
    mesh = make_mesh(MeshConfig(), jax.local_devices()[:1])
    config = dataclasses.replace(CONFIG, head_dim=128)
    wide, narrow = (
        bytes_on_a_device(abstract_cache(config, dtype, mesh, slots=4, places=64))
        for dtype in ("bfloat16", "int8")
    )
    assert 1.9 < wide / narrow < 2
