"""Greedy answers by the full forward over all that stands before, without a cache."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ocijax.model.decoder import Decoder
from ocijax.template import LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG


@partial(jax.jit, static_argnames="config")
def full_forward(parameters, tokens, segment_ids, config=CONFIG):
    """The likeliest token after each position, without a cache."""
    decoder = Decoder(config, COMPUTE, parameters)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return jnp.argmax(decoder.logits(decoder(tokens, positions, segment_ids)), axis=-1)


def assert_greedy(parameters, tokenizer, asked, completions, config=CONFIG):
    """Each token is the argmax of the full forward over all that stands before it."""
    prompts = [tokenize(one, LLAMA2, tokenizer).tokens for one in asked]
    tokens = np.zeros((len(asked), CONFIG.max_position_embeddings), np.int32)
    lengths = []
    for row, prompt, completion in zip(tokens, prompts, completions, strict=True):
        whole = [*prompt, *completion.tokens]
        row[: len(whole)] = whole
        lengths.append(len(whole))
    real = np.arange(tokens.shape[1]) < np.array(lengths)[:, None]
    likeliest = np.asarray(full_forward(parameters, tokens, real.astype(np.int32), config))
    for row, prompt, length, completion in zip(
        likeliest, prompts, lengths, completions, strict=True
    ):
        assert row[len(prompt) - 1 : length - 1].tolist() == list(completion.tokens)


def assert_continues(parameters, prompt, completion):
    """Greedy from these very tokens."""
    whole = [*prompt, *completion.tokens]
    tokens = np.zeros((1, CONFIG.max_position_embeddings), np.int32)
    tokens[0, : len(whole)] = whole
    real = (np.arange(tokens.shape[1]) < len(whole))[None].astype(np.int32)
    likeliest = np.asarray(full_forward(parameters, tokens, real))[0]
    assert likeliest[len(prompt) - 1 : len(whole) - 1].tolist() == list(completion.tokens)
