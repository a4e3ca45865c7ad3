"""The sampler against the full forward, and what it promises about batches, stops and compiling."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import parameter_shardings
from ocijax.sample import engine, prefill_attention
from ocijax.sample import sampler as sampler_module
from ocijax.sample.cache import empty_cache, grow
from ocijax.sample.decoding import DTYPES, Rows, decode, prefill
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sample.weights import sampling_weights
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import CHATML, LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG, Bytes, conversation, writer

RAGGED = [conversation(words) for words in (1, 2, 5, 9, 14, 3, 20, 7, 11, 30, 4)]
GREEDY = SamplingSettings(max_new_tokens=24)
DRAWN = SamplingSettings(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=3)


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


def test_more_slots_than_memory_holds_are_refused_with_how_many_fit(
    monkeypatch, parameters, tokenizer
):
    weights = sum(array.nbytes for array in parameters.values())
    a_slot = 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads * CONFIG.head_dim * 4 * 128
    limit = weights + 5 * a_slot
    monkeypatch.setattr(engine, "memory_limit", lambda device: limit)
    with pytest.raises(InputError, match=r"8 conversations at once, of 128 tokens each, .*: 5 fit"):
        Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8, context=127)
    growing = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8)
    with pytest.raises(InputError, match=r"of 256 tokens each, .*: 2 fit"):
        growing.generate([conversation(20)], SamplingSettings(max_new_tokens=150))


def test_slots_that_leave_no_memory_to_compute_in_are_refused_before_anything_is_answered(
    monkeypatch, parameters, tokenizer
):
    weights = sum(array.nbytes for array in parameters.values())
    a_slot = 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads * CONFIG.head_dim * 4 * 128
    monkeypatch.setattr(engine, "memory_limit", lambda device: weights + 8 * a_slot)
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
    monkeypatch, cudnn, parameters, draft_tokens
):
    asked = [
        Conversation(str(number), (Message("user", f"{number} {'word ' * words}"),))
        for number, words in enumerate((1, 25, 26, 27, 24, 3, 23, 28, 22, 29))
    ]

    def both_rounds(**choices) -> list[tuple[int, ...]]:
        sampler = Sampler(CONFIG, parameters, Bytes(), LLAMA2, compute=COMPUTE, slots=8, **choices)
        first = sampler.generate(asked, SamplingSettings(max_new_tokens=8))
        again = [
            one.append("assistant", completion.text).append("user", "and now?")
            for one, completion in zip(asked, first, strict=True)
        ]
        second = sampler.generate(again, SamplingSettings(max_new_tokens=8))
        return [one.tokens for one in (*first, *second)]

    expected = both_rounds()
    monkeypatch.setattr(engine, "LONGEST_CHUNK", 64)
    monkeypatch.setattr(engine, "choose_prefill_kernel", lambda *choices: "cudnn")
    monkeypatch.setattr(engine, "choose_decode_kernel", lambda *choices: "cudnn")
    monkeypatch.setattr(engine, "_has_command_buffers", lambda mesh: True)
    assert both_rounds(draft_tokens=draft_tokens) == expected


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


def test_it_reports_finished_answers(parameters, tokenizer):
    finished = []
    sampler = Sampler(
        CONFIG,
        parameters,
        tokenizer,
        LLAMA2,
        compute=COMPUTE,
        slots=4,
        observe=finished.append,
    )
    sampler.generate(RAGGED, SamplingSettings(max_new_tokens=2))
    assert sum(finished) == len(RAGGED)


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


def test_who_goes_on_keeps_a_slot_where_others_were_forgotten(parameters, tokenizer):
    sampler = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=2)
    going, ended, new = conversation(9), conversation(5), conversation(3)
    [first] = sampler.generate([going], GREEDY)
    [last] = sampler.generate([ended], GREEDY)
    sampler.forget(ended.append("assistant", last.text))
    sampler.generate([new], GREEDY)
    asked = going.append("assistant", first.text).append("user", "a")
    before = sampler.prefilled_tokens
    sampler.generate([asked], GREEDY)
    held = sampler.prompt_tokens(going) + len(first.tokens)
    assert sampler.prefilled_tokens - before <= sampler.prompt_tokens(asked) - held + 1


def test_who_waits_takes_a_slot_as_soon_as_one_is_free(parameters, tokenizer):
    few = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    completions = few.generate(RAGGED, GREEDY)
    assert_greedy(parameters, tokenizer, RAGGED, completions)


def test_calls_of_several_threads_are_answered_together(parameters, tokenizer):
    shared = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    alone = [shared.generate([one], DRAWN) for one in RAGGED]
    with ThreadPoolExecutor(len(RAGGED)) as threads:
        together = list(threads.map(lambda one: shared.generate([one], DRAWN), RAGGED))
    assert together == alone


def prompt_that_goes_on(tokenizer, asked, reply, again) -> list[int]:
    """The next turn's prompt, in which the reply has the tokens that it was generated as."""
    before = tokenize(asked, LLAMA2, tokenizer).tokens
    end = [] if reply.finish_reason == "stop" else [tokenizer.special_id("</s>")]
    turn = tokenize(again, LLAMA2, tokenizer)
    return [*before, *reply.tokens, *end, *turn.tokens[turn.messages > 1]]


def read_before(tokenizer, asked, reply) -> int:
    """Tokens of a conversation that are in the cache after its answer, but for the last one."""
    return len(tokenize(asked, LLAMA2, tokenizer).tokens) + len(reply.tokens) - 1


def test_of_the_next_turn_no_more_is_read_than_is_new(sampler, parameters, tokenizer):
    """What was said before is in the cache, token for token as it was generated."""
    first = [conversation(words, f"two turns, {words}") for words in (6, 17)]
    replies = sampler.generate(first, GREEDY)
    second = [
        one.append("assistant", reply.text).append("user", "again")
        for one, reply in zip(first, replies, strict=True)
    ]
    before = sampler.prefilled_tokens
    answers = sampler.generate(second, GREEDY)
    new = 0
    for one, reply, other, answer in zip(first, replies, second, answers, strict=True):
        prompt = prompt_that_goes_on(tokenizer, one, reply, other)
        new += len(prompt) - 1 - read_before(tokenizer, one, reply)
        assert_continues(parameters, prompt, answer)
    assert sampler.prefilled_tokens - before == new


def assert_continues(parameters, prompt, completion):
    """Greedy from these very tokens."""
    whole = [*prompt, *completion.tokens]
    tokens = np.zeros((1, CONFIG.max_position_embeddings), np.int32)
    tokens[0, : len(whole)] = whole
    real = (np.arange(tokens.shape[1]) < len(whole))[None].astype(np.int32)
    likeliest = np.asarray(full_forward(parameters, tokens, real))[0]
    assert likeliest[len(prompt) - 1 : len(whole) - 1].tolist() == list(completion.tokens)


def test_who_is_held_goes_on_before_others_take_the_slots(parameters):
    few = Sampler(CONFIG, parameters, Bytes(), LLAMA2, compute=COMPUTE, slots=4)
    # With nothing in common; the longest are answered first, and the other four are held.
    asked = [
        Conversation(letter, (Message("user", letter * (40 + index)),))
        for index, letter in enumerate("abcdefgh")
    ]
    replies = few.generate(asked, SamplingSettings(max_new_tokens=8))
    again = [
        one.append("assistant", reply.text).append("user", "again")
        for one, reply in zip(asked, replies, strict=True)
    ]
    before = few.prefilled_tokens
    few.generate(again, SamplingSettings(max_new_tokens=4))
    pairs = list(zip(asked, replies, strict=True))
    whole = sum(
        len(prompt_that_goes_on(Bytes(), *pair, other)) - 1
        for pair, other in zip(pairs, again, strict=True)
    )
    held = sum(read_before(Bytes(), *pair) for pair in pairs[:4])
    assert few.prefilled_tokens - before == whole - held


def test_what_prompts_have_in_common_is_read_once(parameters, tokenizer):
    fresh = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    same = [conversation(20, f"sample {index}") for index in range(6)]
    drawn = fresh.generate(same, DRAWN)
    assert fresh.prefilled_tokens == len(tokenize(same[0], LLAMA2, tokenizer).tokens) - 1
    apart = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=1)
    assert apart.generate(same, DRAWN) == drawn


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


def test_what_is_followed_makes_up_the_answers(parameters, tokenizer):
    followed = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=3, decode_steps=2
    )
    texts = [""] * len(RAGGED)
    looks = 0

    def follow(index, text):
        nonlocal looks
        texts[index] += text
        looks += 1

    settings = dataclasses.replace(DRAWN, max_new_tokens=24, stop=("e", "\n"))
    completions = followed.generate(RAGGED, settings, follow)
    assert texts == [one.text for one in completions]
    assert any(texts)
    assert looks > len(RAGGED)
    assert followed.generate(RAGGED, settings) == completions


class GaveUp(Exception):
    pass


@pytest.mark.parametrize("looks", [1, 3, 10])
def test_a_call_that_is_given_up_frees_its_slots_and_changes_no_other(parameters, tokenizer, looks):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4, decode_steps=2
    )
    expected = shared.generate(RAGGED[:3], GREEDY)
    seen = 0

    def give_up(index, text):
        nonlocal seen
        seen += 1
        if seen == looks:
            raise GaveUp

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(shared.generate, RAGGED[:3], GREEDY)
        with pytest.raises(GaveUp):
            shared.generate(RAGGED[3:], GREEDY, give_up)
        assert other.result() == expected
    assert seen == looks
    assert shared.free_slots == shared.slots == 4
    # Who comes next goes on from what the given-up answers left in the slots.
    assert_greedy(parameters, tokenizer, RAGGED, shared.generate(RAGGED, GREEDY))


def test_a_slow_follower_keeps_nobody_waiting(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=2, decode_steps=2
    )
    others_done = threading.Event()

    def wait(index, text):
        assert others_done.wait(60)

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(shared.generate, RAGGED[:1], GREEDY, wait)
        shared.generate(RAGGED[1:], GREEDY)
        others_done.set()
        assert len(slow.result()) == 1


def test_a_short_answer_does_not_wait_for_the_end_of_a_long_one(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=2, decode_steps=1
    )
    looks = []
    begun = threading.Event()

    def follow(index, text):
        looks.append(text)
        begun.set()

    with ThreadPoolExecutor(1) as threads:
        settings = SamplingSettings(max_new_tokens=200)
        long = threads.submit(shared.generate, RAGGED[:1], settings, follow)
        assert begun.wait(60)
        shared.generate(RAGGED[1:2], SamplingSettings(max_new_tokens=1))
        assert not long.done()
        long.result()


def test_an_answer_that_ends_while_its_follower_is_slow_is_told_to_its_end(parameters, tokenizer):
    shared = Sampler(
        CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8, decode_steps=1
    )
    settings = [dataclasses.replace(DRAWN, max_new_tokens=4, seed=seed) for seed in range(40)]

    def ask(setting):
        told = []
        follow = lambda index, text: (time.sleep(0.02), told.append(text))  # noqa: E731
        [completion] = shared.generate(RAGGED[:1], setting, follow)
        return "".join(told) == completion.text

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, settings))


def test_a_copy_that_fails_takes_no_slot_and_keeps_nobody_waiting(
    monkeypatch, parameters, tokenizer, sampler
):
    fails = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=3)
    first, second = (
        Conversation(end, (Message("user", 40 * "x" + 30 * end),)) for end in ("a", "b")
    )
    fails.generate([first], GREEDY)
    copy, failures = fails.engine.copy, iter([GaveUp])

    def fail_once(*arguments):
        for failure in failures:
            raise failure
        copy(*arguments)

    monkeypatch.setattr(fails.engine, "copy", fail_once)
    with pytest.raises(GaveUp):
        fails.generate([second], GREEDY)
    assert fails.free_slots == fails.slots
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(fails.generate, [second], GREEDY).result(60)
    assert answer == sampler.generate([second], GREEDY)


def test_a_step_that_fails_fails_one_call_and_no_other(monkeypatch, parameters, tokenizer, sampler):
    shared = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=8)
    # Of so few tokens, which begin differently, four are read at once: however many of the eight
    # the first step finds, it or the next one reads several.
    asked = [Conversation(text, (Message("user", 3 * text),)) for text in "abcdefgh"]
    expected = [sampler.generate([one], GREEDY) for one in asked]
    begin, check_room = shared.engine.begin, shared.engine.check_room
    came, failures = threading.Barrier(8), iter([GaveUp])

    def come(tokens):
        check_room(tokens)
        came.wait(60)

    def fail_once(slots, hidden, rows, prompts):
        time.sleep(0.5)  # meanwhile all others wait
        for failure in failures if len(prompts) > 1 else ():
            raise failure
        return begin(slots, hidden, rows, prompts)

    def ask(one):
        try:
            return shared.generate([one], GREEDY)
        except GaveUp:
            return None

    monkeypatch.setattr(shared.engine, "begin", fail_once)
    monkeypatch.setattr(shared.engine, "check_room", come)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, asked))
    assert answers.count(None) == 1
    assert all(one in (None, other) for one, other in zip(answers, expected, strict=True))
    assert shared.free_slots == shared.slots
