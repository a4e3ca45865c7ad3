"""Slots that conversations leave and go on in, and what of a prompt is not read again."""

from ocijax.conversation import Conversation, Message
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2, tokenize
from tests.sample.conftest import COMPUTE, CONFIG, DRAWN, GREEDY, RAGGED, Bytes, conversation
from tests.sample.full_forward import assert_continues, assert_greedy


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


def test_what_prompts_have_in_common_is_read_once(parameters, tokenizer):
    fresh = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)
    same = [conversation(20, f"sample {index}") for index in range(6)]
    drawn = fresh.generate(same, DRAWN)
    assert fresh.prefilled_tokens == len(tokenize(same[0], LLAMA2, tokenizer).tokens) - 1
    apart = Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=1)
    assert apart.generate(same, DRAWN) == drawn
