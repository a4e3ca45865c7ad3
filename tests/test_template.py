import re

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.template import DEEPSEEK_CODER, LLAMA2, TEMPLATES, get_template, tokenize
from ocijax.tokenizer import load_tokenizer

every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def conversation(*contents: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], content) for i, content in enumerate(contents))
    if system is not None:
        messages = (Message("system", system), *messages)
    return Conversation("id", messages)


EXAMPLE = conversation(
    "Hello",
    "Hi there",
    "Who are you",
    "   I am an assistant   ",
    "Another question",
    system="You are a helpful assistant",
)

CONTENT = st.text(st.characters(codec="utf-8", exclude_characters=["\u2581"]), min_size=1)
CONVERSATIONS = st.builds(
    lambda contents, system: conversation(*contents, system=system),
    st.lists(CONTENT, min_size=1, max_size=7),
    st.none() | CONTENT,
)


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_file):
    return load_tokenizer(tiny_tokenizer_file)


def rendered(template, conversation):
    return "".join(piece.text for piece in template.render(conversation))


def test_deepseek_coder_renders_as_llama_cpp_expects():
    # tests/test-chat-template.cpp; there the begin-of-sequence token is empty.
    begin = DEEPSEEK_CODER.begin_of_sequence
    assert rendered(DEEPSEEK_CODER, EXAMPLE) == begin + (
        "You are a helpful assistant### Instruction:\nHello\n### Response:\nHi there\n<|EOT|>\n"
        "### Instruction:\nWho are you\n### Response:\n   I am an assistant   \n<|EOT|>\n"
        "### Instruction:\nAnother question\n### Response:\n"
    )


def test_deepseek_coder_has_a_default_system_message():
    text = rendered(DEEPSEEK_CODER, conversation("Hello"))
    begin = re.escape(DEEPSEEK_CODER.begin_of_sequence)
    system = "You are an AI programming assistant, utilizing the Deepseek Coder model, .* answer"
    assert re.fullmatch(f"{begin}{system}\n### Instruction:\nHello\n### Response:\n", text)


def test_llama2_renders_as_meta_documents():
    # The prompt page of Meta Code Llama on llama.com.
    assert rendered(LLAMA2, EXAMPLE) == (
        "<s>[INST] <<SYS>>\nYou are a helpful assistant\n<</SYS>>\n\nHello [/INST] Hi there </s>"
        "<s>[INST] Who are you [/INST] I am an assistant </s>"
        "<s>[INST] Another question [/INST]"
    )


def test_llama2_tokens_are_those_of_metas_reference(data_dir):
    # llama/generation.py, chat_completion: each exchange is encoded on its own.
    folder = data_dir / "tokenizers/llama2"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    system, hello, hi, who, am, another = (message.content for message in EXAMPLE.messages)
    hello = f"<<SYS>>\n{system}\n<</SYS>>\n\n{hello}"
    expected = []
    for prompt, answer in ((hello, hi), (who, am)):
        text = f"[INST] {prompt.strip()} [/INST] {answer.strip()} "
        expected += [1, *reference.encode(text), 2]
    expected += [1, *reference.encode(f"[INST] {another} [/INST]")]
    assert tokenize(EXAMPLE, LLAMA2, load_tokenizer(folder)).tokens.tolist() == expected


def test_deepseek_tokens_are_those_of_the_whole_text(data_dir):
    path = data_dir / "tokenizers/recovered/deepseek-coder.tokenizer.json"
    tokenizer = load_tokenizer(path)
    special = DEEPSEEK_CODER.special_ids(tokenizer)
    text = rendered(DEEPSEEK_CODER, EXAMPLE).removeprefix(DEEPSEEK_CODER.begin_of_sequence)
    expected = [special[DEEPSEEK_CODER.begin_of_sequence]]
    for index, part in enumerate(text.split("<|EOT|>")):
        expected += [special["<|EOT|>"]] * (index > 0) + tokenizer.encode(part)
    assert tokenize(EXAMPLE, DEEPSEEK_CODER, tokenizer).tokens.tolist() == expected


@every_template
def test_what_the_sampler_sees_is_a_prefix_of_what_training_saw(template, tiny):
    @given(CONVERSATIONS)
    def prefix_stability(whole):
        tokens = tokenize(whole, template, tiny).tokens.tolist()
        for end, message in enumerate(whole.messages, start=1):
            if message.role == "system":
                continue
            part = Conversation(whole.id, whole.messages[:end])
            seen = tokenize(part, template, tiny).tokens.tolist()
            assert seen == tokens[: len(seen)]

    prefix_stability()


@every_template
def test_pieces_know_their_message_and_what_the_model_writes(template, tiny):
    @given(CONVERSATIONS)
    def masks(whole):
        tokenized = tokenize(whole, template, tiny)
        assert (tokenized.messages[1:] >= tokenized.messages[:-1]).all()
        end_of_turn = tiny.special_id(template.end_of_turn)
        for index, message in enumerate(whole.messages):
            belongs = tokenized.messages == index
            written = tokenized.tokens[belongs & tokenized.completion].tolist()
            if message.role == "assistant":
                content = message.content.strip() if template.strip else message.content
                assert template.answer_text(tiny.decode(written)) == content
                assert written[-1] == end_of_turn
                assert written.count(end_of_turn) == 1
            else:
                assert not written

    masks()


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


@every_template
def test_a_tokenizer_without_the_special_tokens_is_refused_by_name(template, data_dir):
    tokenizer = load_tokenizer(data_dir / "tokenizers/recovered/starcoder2.tokenizer.json")
    with pytest.raises(InputError) as refusal:
        tokenize(conversation("Hello"), template, tokenizer)
    message = str(refusal.value)
    assert "starcoder2.tokenizer.json" in message
    assert "\n" not in message
    assert all(repr(token) in message for token in template.special_tokens)


@pytest.mark.parametrize("text", ["  Hi ", "\tHi", "Hi"])
def test_an_answer_that_deviates_from_the_pattern_is_taken_as_it_is(text):
    assert DEEPSEEK_CODER.answer_text(text) == text


def test_templates_are_found_by_name():
    assert get_template("llama-2") is LLAMA2
    with pytest.raises(InputError, match="'llama' is unknown; there are deepseek-coder, llama-2"):
        get_template("llama")
