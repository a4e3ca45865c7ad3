"""Log-probabilities of generated tokens, against those of the full forward."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.decoder import Decoder
from ocijax.sample.pace import Pace
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG, RAGGED

GREEDY = SamplingSettings(max_new_tokens=40, log_probabilities=True)
DRAWN = dataclasses.replace(GREEDY, temperature=1.5, top_p=0.8, top_k=20, seed=3)


@pytest.fixture
def drafting(monkeypatch, parameters, tokenizer) -> Sampler:
    """A sampler that reads drafts in every forward."""
    monkeypatch.setattr(Pace, "choose", lambda pace: pace._draft_tokens)
    return Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4, draft_tokens=5)


@jax.jit
def full_forward(parameters, tokens):
    """Log-probabilities ``[length, vocab]`` after each token, without a cache."""
    decoder = Decoder(CONFIG, COMPUTE, parameters)
    positions = jnp.arange(len(tokens))[None]
    hidden = decoder(tokens[None], positions, jnp.ones_like(positions))
    return jax.nn.log_softmax(decoder.logits(hidden)[0])


def assert_those_of_the_full_forward(parameters, tokenizer, completions):
    for one, completion in zip(RAGGED, completions, strict=True):
        prompt = tokenize(one, LLAMA2, tokenizer).tokens
        whole = np.zeros(CONFIG.max_position_embeddings, np.int32)
        generated = np.arange(len(completion.tokens)) + len(prompt)
        whole[: len(prompt)], whole[generated] = prompt, completion.tokens
        expected = np.asarray(full_forward(parameters, whole))[generated - 1, completion.tokens]
        np.testing.assert_allclose(completion.log_probabilities, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", [GREEDY, DRAWN])
def test_they_are_the_log_softmax_of_the_logits_however_tokens_are_chosen(
    sampler, parameters, tokenizer, settings
):
    completions = sampler.generate(RAGGED, settings)
    assert_those_of_the_full_forward(parameters, tokenizer, completions)


@pytest.mark.parametrize("settings", [GREEDY, DRAWN])
def test_so_they_are_where_drafts_are_read(drafting, parameters, tokenizer, settings):
    completions = drafting.generate(RAGGED, settings)
    assert drafting.forwards < drafting.generated_tokens
    assert_those_of_the_full_forward(parameters, tokenizer, completions)


def test_behind_a_stop_string_there_are_none(drafting, sampler, tokenizer):
    free = sampler.generate(RAGGED, GREEDY)
    stop = tokenizer.decode(free[2].tokens)[3:6]
    completions = drafting.generate(RAGGED, dataclasses.replace(GREEDY, stop=(stop,)))
    assert len(completions[2].tokens) < len(free[2].tokens)
    for one in completions:
        assert len(one.log_probabilities) == len(one.tokens)


def test_who_asks_for_none_has_none_and_the_same_answer(sampler):
    plain = dataclasses.replace(GREEDY, log_probabilities=False)
    for one, other in zip(
        sampler.generate(RAGGED, plain), sampler.generate(RAGGED, GREEDY), strict=True
    ):
        assert one == dataclasses.replace(other, log_probabilities=())


def test_asking_for_them_compiles_nothing(parameters, tokenizer):
    fresh = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    fresh.generate(RAGGED, dataclasses.replace(GREEDY, log_probabilities=False))
    compiled = fresh.programs
    fresh.generate(RAGGED, GREEDY)
    assert fresh.programs == compiled
