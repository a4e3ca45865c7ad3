"""Rendering and tokenisation: what holds for every template."""

import pytest
from hypothesis import given, settings

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.template import DEEPSEEK_CODER, GEMMA, TEMPLATES, get_template, tokenize
from tests.template.conversations import conversation, conversations

every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def rendered(template, conversation):
    return "".join(piece.text for piece in template.render(conversation))


@every_template
def test_what_the_sampler_sees_is_a_prefix_of_what_training_saw(template, tokenizer):
    @settings(max_examples=30)
    @given(conversations(template))
    def prefix_stability(whole):
        tokens = tokenize(whole, template, tokenizer).tokens.tolist()
        for end, message in enumerate(whole.messages, start=1):
            if message.role == "system":
                continue
            part = Conversation(whole.id, whole.messages[:end])
            seen = tokenize(part, template, tokenizer).tokens.tolist()
            assert seen == tokens[: len(seen)]

    prefix_stability()


@every_template
def test_pieces_know_their_message_and_what_the_model_writes(template, tiny):
    @settings(max_examples=50)
    @given(conversations(template))
    def masks(whole):
        tokenized = tokenize(whole, template, tiny)
        assert (tokenized.messages[1:] >= tokenized.messages[:-1]).all()
        end_of_turn = tiny.special_id(template.end_of_turn)
        for index, message in enumerate(whole.messages):
            belongs = tokenized.messages == index
            written = tokenized.tokens[belongs & tokenized.completion].tolist()
            if message.role == "assistant":
                strips = "{content.strip()}" in template.answer
                content = message.content.strip() if strips else message.content
                assert template.answer_text(tiny.decode(written)) == content
                assert written[-1] == end_of_turn
                assert written.count(end_of_turn) == 1
            else:
                assert not written

    masks()


@every_template
def test_an_answer_that_is_known_stands_for_what_it_is_encoded_as(template, tiny):
    whole = conversation("Hello", "Hi", "And", "Yes")
    encoded = tokenize(whole, template, tiny)
    written = encoded.completion & (encoded.messages == 1)
    known = [*encoded.tokens[written][:1], *encoded.tokens[written]]
    replaced = tokenize(whole, template, tiny, answers={1: known})
    found = replaced.completion & (replaced.messages == 1)
    assert replaced.tokens[found].tolist() == known
    assert replaced.tokens[~found].tolist() == encoded.tokens[~written].tolist()


@every_template
def test_a_conversation_that_ends_with_a_user_turn_ends_with_an_untrained_prompt(template):
    asked, answered = conversation("Hello"), conversation("Hello", "Hi")
    prompt = template.render(asked)
    assert not any(piece.completion for piece in prompt)
    after = template.render(answered)[len(prompt) :]
    assert template.render(answered)[: len(prompt)] == prompt
    completion = "".join(piece.text for piece in after if piece.completion)
    assert completion.strip().startswith("Hi")
    assert completion.endswith(template.end_of_turn)


@every_template
def test_special_tokens_spelled_in_a_message_stay_text(template, tiny):
    spelled = " ".join(template.special_tokens)
    ids = set(template.special_ids(tiny).values())
    plain = tokenize(conversation("a", "b"), template, tiny).tokens.tolist()
    hostile = tokenize(conversation(spelled, spelled), template, tiny).tokens.tolist()
    assert [i for i in hostile if i in ids] == [i for i in plain if i in ids]
    assert tiny.decode(hostile).count(template.end_of_turn) == 2


@every_template
def test_a_message_may_spell_the_placeholder(template):
    assert rendered(template, conversation("f'{content}'")).count("{content}") == 1


class Bytes:
    """A tokenizer of UTF-8 bytes, without special tokens."""

    name, vocab_size, text_prefix = "bytes", 256, ""

    def encode(self, text):
        return list(text.encode())

    def special_id(self, token):
        return None


@every_template
def test_a_tokenizer_without_the_special_tokens_is_refused_by_name(template):
    with pytest.raises(InputError) as refusal:
        tokenize(conversation("Hello"), template, Bytes())
    message = str(refusal.value)
    assert message.startswith("bytes: the tokenizer lacks the special tokens")
    assert "\n" not in message
    assert all(repr(token) in message for token in template.special_tokens)


@every_template
@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ([], "has no user turn"),
        (["system"], "has no user turn"),
        (["assistant"], "message 0 is of the assistant, where the user is due"),
        (["system", "assistant"], "message 1 is of the assistant, where the user is due"),
        (["user", "user"], "message 1 is of the user, where the assistant is due"),
        (["user", "system"], "message 1 is of the system, where the assistant is due"),
        (["user", "assistant", "assistant"], "message 2 is of the assistant, where the user is"),
    ],
)
def test_turns_out_of_order_are_refused_by_number(template, roles, problem):
    if template is GEMMA and "system" in roles[:1]:
        problem = "template 'gemma' has no system turn"
    turns = Conversation("of data.jsonl:3", tuple(Message(role, "Hi") for role in roles))
    with pytest.raises(InputError, match=f"^conversation of data.jsonl:3: {problem}"):
        template.render(turns)


@pytest.mark.parametrize("text", ["  Hi ", "\tHi", "Hi"])
def test_an_answer_that_deviates_from_the_pattern_is_taken_as_it_is(text):
    assert DEEPSEEK_CODER.answer_text(text) == text


def test_templates_are_found_by_name():
    assert get_template("deepseek-coder") is DEEPSEEK_CODER
    with pytest.raises(InputError, match="'llama' is unknown; there are deepseek-coder, llama-2, "):
        get_template("llama")
