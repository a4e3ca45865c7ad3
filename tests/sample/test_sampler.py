"""The sampler against the full forward, and what it promises about batches, stops and compiling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.sample.decoding import Draws, LayerCache, Rows, decode, prefill, resize
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG, conversation

RAGGED = [conversation(words) for words in (1, 2, 5, 9, 14, 3, 20, 7, 11, 30, 4)]
DRAWN = SamplingSettings(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=3)


def test_greedy_with_the_cache_is_the_argmax_of_the_full_forward_at_every_position(
    sampler, parameters, tokenizer
):
    decoder = Decoder(CONFIG, COMPUTE, parameters)
    completions = sampler.generate(RAGGED, SamplingSettings(max_new_tokens=24))
    for asked, completion in zip(RAGGED, completions, strict=True):
        prompt = tokenize(asked, LLAMA2, tokenizer).tokens
        whole = jnp.asarray([*prompt, *completion.tokens], jnp.int32)[None]
        positions = jnp.arange(whole.shape[1])[None]
        logits = decoder.logits(decoder(whole, positions, jnp.ones_like(whole)))
        expected = np.argmax(logits[0], axis=-1)[len(prompt) - 1 : -1]
        assert list(completion.tokens) == expected.tolist()


@pytest.mark.parametrize("settings", [SamplingSettings(max_new_tokens=12), DRAWN])
def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(sampler, settings):
    together = sampler.generate(RAGGED, settings)
    first_alone = sampler.generate(RAGGED[:1], settings)
    assert together[0] == first_alone[0]
    # The same place in the call among other neighbours.
    others = [RAGGED[0], conversation(40), RAGGED[2]]
    assert sampler.generate(others, settings)[2] == together[2]


def test_the_seed_changes_what_is_drawn_and_repeats_it(sampler):
    again = dataclasses.replace(DRAWN, seed=4)
    assert sampler.generate(RAGGED, DRAWN) == sampler.generate(RAGGED, DRAWN)
    assert sampler.generate(RAGGED, DRAWN) != sampler.generate(RAGGED, again)


def test_equal_questions_in_one_call_are_drawn_independently(sampler):
    same = [conversation(5, f"copy {index}") for index in range(6)]
    assert len({one.tokens for one in sampler.generate(same, DRAWN)}) > 1


def test_the_end_of_turn_ends_an_answer_and_is_not_part_of_its_text(parameters, tokenizer):
    free = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE)
    [before] = free.generate(RAGGED[:1], SamplingSettings(max_new_tokens=10))
    # Give the end-of-turn token the head of a token that greedy decoding takes.
    end = tokenizer.special_id("</s>")
    taken = before.tokens[4]
    head = parameters["head"].at[:, end].set(parameters["head"][:, taken] * 1.01)
    ending = Sampler(CONFIG, {**parameters, "head": head}, tokenizer, LLAMA2, compute=COMPUTE)
    [after] = ending.generate(RAGGED[:1], SamplingSettings(max_new_tokens=10))
    assert after.finish_reason == "stop"
    assert after.tokens[-1] == end
    assert after.tokens.count(end) == 1
    assert "</s>" not in after.text


def test_a_stop_string_across_token_borders_ends_an_answer_before_it(sampler, tokenizer):
    [free] = sampler.generate(RAGGED[3:4], SamplingSettings(max_new_tokens=20))
    whole = tokenizer.decode(free.tokens)
    # Two characters, the last of one token and the first of the next.
    border = len(tokenizer.decode(free.tokens[:8]))
    stop = whole[border - 1 : border + 1]
    [cut] = sampler.generate(RAGGED[3:4], SamplingSettings(max_new_tokens=20, stop=(stop,)))
    assert cut.finish_reason == "stop"
    assert stop not in cut.text
    assert cut.tokens == free.tokens[: len(cut.tokens)]
    assert whole.startswith(cut.text.lstrip() or cut.text) or cut.text in whole


def test_the_limit_ends_an_answer(sampler):
    for completion in sampler.generate(RAGGED, SamplingSettings(max_new_tokens=7)):
        assert len(completion.tokens) <= 7
        assert (completion.finish_reason == "length") == (
            len(completion.tokens) == 7 and completion.tokens[-1] != 2
        )


def test_the_context_limits_an_answer(sampler, tokenizer):
    long = conversation(38)
    prompt = len(tokenize(long, LLAMA2, tokenizer).tokens)
    assert prompt < CONFIG.max_position_embeddings
    [completion] = sampler.generate([long], SamplingSettings(max_new_tokens=10_000))
    assert len(completion.tokens) == CONFIG.max_position_embeddings - prompt
    assert completion.finish_reason == "length"


def test_a_prompt_longer_than_the_context_is_refused_by_name(sampler):
    with pytest.raises(InputError, match=r"conversation of 400 words: its \d+ tokens leave no"):
        sampler.generate([conversation(400)], SamplingSettings())


def test_a_conversation_that_asks_nothing_is_refused_by_name(sampler):
    answered = Conversation("done", (Message("user", "a"), Message("assistant", "b")))
    with pytest.raises(InputError, match="conversation done: does not end with a user turn"):
        sampler.generate([answered], SamplingSettings())
    with pytest.raises(InputError, match="conversation empty: does not end"):
        sampler.generate([Conversation("empty", ())], SamplingSettings())


def test_no_conversations_give_no_completions(sampler):
    assert sampler.generate([], SamplingSettings()) == []


def test_other_settings_and_lengths_in_the_same_bucket_compile_nothing(sampler):
    sampler.generate(RAGGED, SamplingSettings(max_new_tokens=16))
    programs = (prefill, decode, resize)
    compiled = [program._cache_size() for program in programs]
    for temperature, top_p, seed, limit in ((0.7, 0.95, 1, 16), (1.3, 0.5, 2, 9), (0.0, 1.0, 5, 3)):
        sampler.generate(RAGGED[::-1], SamplingSettings(limit, temperature, top_p, seed))
    assert [program._cache_size() for program in programs] == compiled


def test_it_runs_in_bfloat16(parameters, tokenizer):
    half = {path: array.astype(jnp.bfloat16) for path, array in parameters.items()}
    sampler = Sampler(CONFIG, half, tokenizer, LLAMA2, compute=ComputeConfig("bfloat16"))
    completions = sampler.generate(RAGGED, SamplingSettings(max_new_tokens=5))
    assert all(1 <= len(one.tokens) <= 5 for one in completions)


def test_it_reports_finished_answers(parameters, tokenizer):
    finished = []
    sampler = Sampler(
        CONFIG,
        parameters,
        tokenizer,
        LLAMA2,
        compute=COMPUTE,
        max_batch=4,
        observe=finished.append,
    )
    sampler.generate(RAGGED, SamplingSettings(max_new_tokens=2))
    assert sum(finished) == len(RAGGED)


def test_the_cache_is_updated_in_place(parameters):
    """The compiled decode aliases the donated cache instead of copying it."""
    size, slots = 4, 64
    shape = (size, CONFIG.num_key_value_heads, slots, CONFIG.head_dim)
    cache = (LayerCache(jnp.zeros(shape), jnp.zeros(shape)),) * CONFIG.num_hidden_layers
    row = jnp.zeros(size, jnp.int32)
    compiled = decode.lower(
        parameters,
        cache,
        Rows(row, row, row, row, row),
        jnp.zeros(1, jnp.int32),
        Draws(jnp.uint32(0), jnp.float32(0), jnp.float32(1)),
        config=CONFIG,
        compute=COMPUTE,
        mesh=make_mesh(MeshConfig(), jax.local_devices()[:1]),
        steps=4,
    ).compile()
    arrays = jax.tree.leaves(cache)
    assert compiled.memory_analysis().alias_size_in_bytes >= sum(one.nbytes for one in arrays)
