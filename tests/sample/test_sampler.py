"""The sampler against the full forward, and what it promises about batches, stops and refusals."""

import dataclasses

import jax.numpy as jnp
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig
from ocijax.sample import engine, prefill_attention
from ocijax.sample import sampler as sampler_module
from ocijax.sample.decoding import prefill
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import CHATML, LLAMA2, tokenize
from tests.sample.conftest import (
    COMPUTE,
    CONFIG,
    DRAWN,
    GREEDY,
    RAGGED,
    Bytes,
    conversation,
    writer,
)
from tests.sample.full_forward import assert_greedy


def test_greedy_with_the_cache_is_the_argmax_of_the_full_forward_at_every_position(
    sampler, parameters, tokenizer
):
    completions = sampler.generate(RAGGED, GREEDY)
    assert_greedy(parameters, tokenizer, RAGGED, completions)


def test_so_it_is_up_to_the_end_of_the_context_as_the_cache_grows(sampler, parameters, tokenizer):
    asked = [conversation(1), conversation(38)]
    completions = sampler.generate(asked, SamplingSettings(max_new_tokens=10_000))
    assert_greedy(parameters, tokenizer, asked, completions)
    for one, completion in zip(asked, completions, strict=True):
        prompt = len(tokenize(one, LLAMA2, tokenizer).tokens)
        assert len(completion.tokens) == CONFIG.max_position_embeddings - prompt
        assert completion.finish_reason == "length"


def test_so_it_is_where_rows_end_at_different_times(parameters, tokenizer):
    end = tokenizer.special_id("</s>")
    # The end of turn takes the head of a token that greedy answers have here and there.
    free = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    tokens = [one.tokens for one in free.generate(RAGGED[:8], GREEDY)]
    first = {token: [one.index(token) for one in tokens if token in one] for token in tokens[0]}
    taken = max(first, key=lambda token: len(set(first[token])))
    head = parameters["head"].at[:, end].set(parameters["head"][:, taken] * 1.01)
    ending = {**parameters, "head": head}
    sampler = Sampler(CONFIG, ending, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    completions = sampler.generate(RAGGED[:8], GREEDY)
    assert len({len(one.tokens) for one in completions}) > 2
    assert_greedy(ending, tokenizer, RAGGED[:8], completions)
    for one in completions:
        assert (one.finish_reason == "stop") == (one.tokens[-1] == end)
        assert end not in one.tokens[:-1]
        assert "</s>" not in one.text


@pytest.mark.parametrize("window", [None, 40])
def test_a_long_prompt_is_read_in_blocks_of_queries(monkeypatch, parameters, tokenizer, window):
    monkeypatch.setattr(prefill_attention, "_QUERY_BLOCK", 64)
    prefill.clear_cache()
    config = dataclasses.replace(CONFIG, sliding_window=window)
    sampler = Sampler(config, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=1)
    asked = [conversation(30)]
    completions = sampler.generate(asked, SamplingSettings(max_new_tokens=8))
    prefill.clear_cache()
    assert_greedy(parameters, tokenizer, asked, completions, config)


def test_nothing_is_computed_in_eight_bits_where_a_recipe_trains_so(sampler, parameters, tokenizer):
    compute = dataclasses.replace(COMPUTE, fp8=True)
    asked = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=compute, slots=8)
    assert asked.generate(RAGGED[:8], GREEDY) == sampler.generate(RAGGED[:8], GREEDY)


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


@pytest.mark.parametrize(
    ("written", "stop", "text", "tokens"),
    [
        ("The quick", (), "The quick", b"The quick"),
        ("The quick", ("qu",), "The", b"The qu"),
        ("The quick", ("never", "ck", "e q"), "Th", b"The q"),
        ("The quick", ("INST",), "The quick", b"The quick"),
        ("dí €x", (), "dí €x", "dí €x".encode()),
        ("dí €x", ("€",), "dí", "dí €".encode()),
    ],
)
@pytest.mark.parametrize("steps", [1, 4, 16])
def test_an_answer_ends_before_a_stop_string_or_with_its_turn(written, stop, text, tokens, steps):
    """A stop string may lie across tokens, dispatches and the bytes of a character."""
    sampler = Sampler(
        CONFIG,
        writer(written),
        Bytes(),
        LLAMA2,
        compute=COMPUTE,
        slots=4,
        decode_steps=steps,
    )
    settings = SamplingSettings(max_new_tokens=40, stop=stop)
    [completion] = sampler.generate([conversation(1)], settings)
    whole = text == written
    assert completion.text == text
    assert completion.tokens == (*tokens, *([Bytes.END] if whole else []))
    assert completion.finish_reason == "stop"


def test_a_row_stopped_by_a_string_changes_no_other_row(sampler, tokenizer):
    free = sampler.generate(RAGGED[:8], GREEDY)
    stop = tokenizer.decode(free[2].tokens)[:3]
    stopped = sampler.generate(RAGGED[:8], dataclasses.replace(GREEDY, stop=(stop,)))
    assert len(stopped[2].tokens) < len(free[2].tokens)
    for one, other in zip(stopped, free, strict=True):
        if stop not in tokenizer.decode(other.tokens):
            assert one == other


def test_the_limit_ends_an_answer(sampler):
    for completion in sampler.generate(RAGGED, SamplingSettings(max_new_tokens=7)):
        assert len(completion.tokens) <= 7
        assert (completion.finish_reason == "length") == (
            len(completion.tokens) == 7 and completion.tokens[-1] != 2
        )


def test_a_prompt_longer_than_the_context_is_refused_by_name(sampler):
    with pytest.raises(InputError, match=r"conversation of 400 words: its \d+ tokens leave no"):
        sampler.generate([conversation(400)], SamplingSettings())


def test_a_tokenizer_with_tokens_that_the_model_lacks_is_refused(parameters, tokenizer):
    small = dataclasses.replace(CONFIG, vocab_size=320)
    with pytest.raises(
        InputError, match=r"^tiny: has 340 tokens, but the model's vocab_size is 320"
    ):
        Sampler(small, parameters, tokenizer, LLAMA2, compute=COMPUTE)


def test_a_tokenizer_without_the_templates_special_tokens_is_refused(parameters):
    with pytest.raises(InputError, match=r"^bytes: .* lacks the special tokens '<\|im_start"):
        Sampler(CONFIG, parameters, Bytes(), CHATML, compute=COMPUTE)


def test_a_conversation_that_asks_nothing_is_refused_by_name(sampler):
    answered = Conversation("done", (Message("user", "a"), Message("assistant", "b")))
    with pytest.raises(
        InputError, match="conversation done: does not end with a user turn to answer"
    ):
        sampler.generate([answered], SamplingSettings())
    with pytest.raises(InputError, match="conversation empty: does not end"):
        sampler.generate([Conversation("empty", ())], SamplingSettings())


def test_no_conversations_give_no_completions(sampler):
    assert sampler.generate([], SamplingSettings()) == []


def test_it_runs_in_bfloat16(parameters, tokenizer):
    half = {path: array.astype(jnp.bfloat16) for path, array in parameters.items()}
    sampler = Sampler(CONFIG, half, tokenizer, LLAMA2, compute=ComputeConfig("bfloat16"), slots=4)
    completions = sampler.generate(RAGGED, SamplingSettings(max_new_tokens=5))
    assert all(1 <= len(one.tokens) <= 5 for one in completions)
    # The parameters are cast where they are kept wider.
    wide = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=ComputeConfig("bfloat16"), slots=4
    )
    assert wide.generate(RAGGED, SamplingSettings(max_new_tokens=5)) == completions


def test_a_prompt_that_is_read_in_chunks_is_answered_the_same(monkeypatch, parameters, tokenizer):
    monkeypatch.setattr(engine, "LONGEST_CHUNK", 64)
    monkeypatch.setattr(sampler_module, "_PREFILL_TOKENS", 1)
    chunks = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    asked = [conversation(words) for words in (1, 38, 2, 30, 37, 4)]
    completions = chunks.generate(asked, GREEDY)
    assert_greedy(parameters, tokenizer, asked, completions)


def test_a_draw_from_the_one_most_probable_token_is_greedy(sampler):
    drawn = dataclasses.replace(GREEDY, temperature=1.0, top_k=1)
    assert sampler.generate(RAGGED, drawn) == sampler.generate(RAGGED, GREEDY)
