"""The engine's memory, programs and kernels."""

import jax
import jax.numpy as jnp
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.model.parameters import parameter_shardings
from ocijax.sample import engine
from ocijax.sample.cache import empty_cache, grow
from ocijax.sample.decoding import DTYPES, Rows, decode
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sample.weights import sampling_weights
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import LLAMA2
from tests.sample.conftest import COMPUTE, CONFIG, GREEDY, RAGGED, Bytes, conversation

A_SLOT = 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads * CONFIG.head_dim * 4 * 128
"""Bytes of a slot of 128 tokens."""


def test_more_slots_than_memory_holds_are_refused_with_how_many_fit(
    monkeypatch, parameters, tokenizer
):
    weights = sum(array.nbytes for array in parameters.values())
    limit = weights + 5 * A_SLOT
    monkeypatch.setattr(engine, "memory_limit", lambda device: limit)
    with pytest.raises(InputError, match=r"8 conversations at once, of 128 tokens each, .*: 5 fit"):
        Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8, context=127)
    growing = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8)
    with pytest.raises(InputError, match=r"of 256 tokens each, .*: 2 fit"):
        growing.generate([conversation(20)], SamplingSettings(max_new_tokens=150))


def test_what_else_a_device_holds_is_not_there_for_slots(monkeypatch, parameters, tokenizer):
    limit = 100 * A_SLOT
    monkeypatch.setattr(engine, "memory_limit", lambda device: limit)
    few, many = (
        Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=slots, context=127)
        for slots in (3, 8)
    )
    monkeypatch.setattr(engine, "memory_in_use", lambda device: limit - 3 * A_SLOT)
    with pytest.raises(InputError, match=r"8 conversations at once, of 128 tokens each, .*: 3 fit"):
        many.generate(RAGGED[:5], GREEDY)
    assert len(few.generate(RAGGED[:5], GREEDY)) == 5


def test_slots_grow_to_all_that_fits_beside_the_model(monkeypatch, parameters, tokenizer):
    """What they are now is not counted beside it."""
    weights = sum(array.nbytes for array in parameters.values())
    monkeypatch.setattr(engine, "memory_limit", lambda device: weights + 8 * A_SLOT)
    growing = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8)
    short, long = (SamplingSettings(max_new_tokens=limit) for limit in (10, 80))
    growing.generate(RAGGED[:1], short)
    with pytest.raises(InputError, match=r"of 256 tokens each, .*: 4 fit"):
        growing.generate(RAGGED[:1], SamplingSettings(max_new_tokens=200))
    assert len(growing.generate(RAGGED[:1], long)[0].tokens) > 10


def test_a_chunk_that_would_end_behind_the_slot_begins_earlier(parameters, tokenizer):
    short = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=1, context=127)
    assert short.engine.next_chunk(known=100, tokens=120).start == 64
    assert short.engine.next_chunk(known=30, tokens=90).start == 30


def test_slots_are_made_once_there_is_something_to_answer(parameters, tokenizer):
    """Until then whoever gave the parameters may let them go."""

    def held() -> int:
        return sum(array.nbytes for array in jax.live_arrays())

    before = held()
    late = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=500, context=127)
    assert held() - before < 500 * A_SLOT
    late.generate(RAGGED[:1], GREEDY)
    assert held() - before > 500 * A_SLOT


def test_slots_that_leave_no_memory_to_compute_in_are_refused_before_anything_is_answered(
    monkeypatch, parameters, tokenizer
):
    weights = sum(array.nbytes for array in parameters.values())
    monkeypatch.setattr(engine, "memory_limit", lambda device: weights + 8 * A_SLOT)
    full = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8, context=127)
    with pytest.raises(
        InputError, match=r"^8 conversations .* GiB to compute in .*: at least \d+ fit"
    ):
        full.compile_ahead()


@pytest.mark.parametrize("fixed", [False, True])
def test_nothing_is_compiled_once_all_is_compiled_ahead(monkeypatch, parameters, tokenizer, fixed):
    monkeypatch.setattr(engine, "_has_command_buffers", lambda mesh: fixed)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    placed = jax.device_put(parameters, parameter_shardings(CONFIG, mesh))
    ahead = Sampler(
        CONFIG, placed, tokenizer, LLAMA2, compute=COMPUTE, slots=4, context=120, draft_tokens=5
    )
    ahead.compile_ahead()
    compiled = ahead.programs, grow._cache_size()
    assert ahead.programs > 0
    for temperature, top_p, top_k, seed, limit in ((0.7, 0.9, 0, 1, 20), (1.3, 1, 5, 2, 9)):
        settings = SamplingSettings(limit, temperature, top_p, seed, top_k=top_k)
        for asked in (RAGGED[:6], RAGGED[5::-1], RAGGED[:1]):
            ahead.generate(asked, settings)
    assert (ahead.programs, grow._cache_size()) == compiled


@pytest.mark.parametrize("draft_tokens", [0, 3])
def test_with_a_gpus_kernels_and_arguments_in_place_answers_are_the_same(
    monkeypatch, cudnn, mosaic, parameters, draft_tokens
):
    asked = [
        Conversation(str(number), (Message("user", f"{number} {'word ' * words}"),))
        for number, words in enumerate((1, 25, 26, 27, 24, 3, 23, 28, 22, 29))
    ]

    settings = SamplingSettings(max_new_tokens=4)

    def both_rounds(**choices) -> list[tuple[int, ...]]:
        sampler = Sampler(CONFIG, parameters, Bytes(), LLAMA2, compute=COMPUTE, slots=8, **choices)
        first = sampler.generate(asked, settings)
        again = [
            one.append("assistant", completion.text).append("user", "and now?")
            for one, completion in zip(asked, first, strict=True)
        ]
        second = sampler.generate(again, settings)
        return [one.tokens for one in (*first, *second)]

    expected = both_rounds()
    monkeypatch.setattr(engine, "LONGEST_CHUNK", 64)
    monkeypatch.setattr(engine, "choose_prefill_kernel", lambda *choices: "cudnn")
    monkeypatch.setattr(engine, "choose_decode_kernel", lambda *choices: "cudnn")
    monkeypatch.setattr(engine, "is_for_mosaic", lambda *choices: True)
    monkeypatch.setattr(engine, "_has_command_buffers", lambda mesh: True)
    assert both_rounds(draft_tokens=draft_tokens) == expected


def test_the_cache_is_updated_in_place(parameters):
    """The compiled decode aliases the donated cache instead of copying it."""
    mesh = make_mesh(MeshConfig(), jax.local_devices()[:1])
    cache = empty_cache(CONFIG, "float32", mesh, slots=4, places=64)
    compiled = decode.lower(
        sampling_weights(CONFIG, parameters, "float32", mesh),
        cache=cache,
        rows=Rows(*(jnp.zeros(4, dtype) for dtype in DTYPES)),
        history=jnp.zeros((4, 0), jnp.int32),
        stop_ids=jnp.zeros(1, jnp.int32),
        config=CONFIG,
        compute=COMPUTE,
        mesh=mesh,
        steps=4,
        window=64,
        kernel="masked",
    ).compile()
    arrays = jax.tree.leaves(cache)
    assert compiled.memory_analysis().alias_size_in_bytes >= sum(one.nbytes for one in arrays)
