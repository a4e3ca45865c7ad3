"""Each format beside its published chat template, rendered by transformers.

Reference values are in tests/golden/templates.json, see make_templates.py.
"""

import json
from pathlib import Path

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.template import (
    CODELLAMA_70B,
    DEEPSEEK_CODER,
    LLAMA2,
    STARCODER2,
    TEMPLATES,
    tokenize,
)
from ocijax.tokenizer import SentencePieceTokenizer, load_tokenizer
from tests.template.conversations import conversation

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/templates.json").read_text("utf-8"))
CONVERSATIONS = {
    case: Conversation(case, tuple(Message(**message) for message in messages))
    for case, messages in GOLDEN["conversations"].items()
}
PROMPTED = [case for case, one in CONVERSATIONS.items() if one.messages[-1].role == "user"]
OUT_OF_ORDER = ("an answer first", "two user turns", "two answers", "system last")

AS_PUBLISHED = [name for name in TEMPLATES if name not in ("starcoder2", "codellama-70b")]

every_conversation = pytest.mark.parametrize("case", CONVERSATIONS)


def rendered(template, conversation):
    """The text, or ``None`` where the template refuses the conversation."""
    try:
        return "".join(piece.text for piece in template.render(conversation))
    except InputError:
        return None


@pytest.mark.parametrize("case", [case for case in CONVERSATIONS if case not in OUT_OF_ORDER])
@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_text_is_that_of_the_published_chat_template(name, case):
    assert rendered(TEMPLATES[name], CONVERSATIONS[case]) == GOLDEN["published"][name][case]


@every_conversation
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_the_published_chat_template_refuses_we_refuse(name, case):
    starcoder2_system = name == "starcoder2" and "system" in case
    if GOLDEN["published"][name][case] is None and not starcoder2_system:
        assert rendered(TEMPLATES[name], CONVERSATIONS[case]) is None


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "codellama-70b"])
def test_tokens_are_those_of_the_whole_text_in_transformers(name, deepseek):
    for case, expected in GOLDEN["deepseek_ids"][name].items():
        assert tokenize(CONVERSATIONS[case], TEMPLATES[name], deepseek).tokens.tolist() == expected


def test_deepseek_coder_renders_as_llama_cpp_expects():
    # tests/test-chat-template.cpp; there the begin-of-sequence token is empty.
    turns = ("Hello", "Hi there", "Who are you", "   I am an assistant   ", "Another question")
    example = conversation(*turns, system="You are a helpful assistant")
    assert rendered(DEEPSEEK_CODER, example) == DEEPSEEK_CODER.begin_of_sequence + (
        "You are a helpful assistant### Instruction:\nHello\n### Response:\nHi there\n<|EOT|>\n"
        "### Instruction:\nWho are you\n### Response:\n   I am an assistant   \n<|EOT|>\n"
        "### Instruction:\nAnother question\n### Response:\n"
    )


@pytest.mark.parametrize("case", ["5 turns", "system and 5 turns"])
def test_llama2_tokens_are_those_of_metas_reference(data_dir, case):
    # llama/generation.py, chat_completion: each exchange is encoded on its own.
    folder = data_dir / "tokenizers/llama2"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    *system, add, code, result, works, thanks = (
        message.content for message in CONVERSATIONS[case].messages
    )
    if system:
        add = f"<<SYS>>\n{system[0]}\n<</SYS>>\n\n{add}"
    expected = []
    for prompt, answer in ((add, code), (result, works)):
        text = f"[INST] {prompt.strip()} [/INST] {answer.strip()} "
        expected += [1, *reference.encode(text), 2]
    expected += [1, *reference.encode(f"[INST] {thanks.strip()} [/INST]")]
    tokens = tokenize(CONVERSATIONS[case], LLAMA2, load_tokenizer(folder)).tokens
    assert tokens.tolist() == expected


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_codellama_70b_is_as_published_but_for_the_destination_of_earlier_answers(case):
    # The published template always ends with a generation prompt.
    published = GOLDEN["published"]["codellama-70b"][case]
    if case in OUT_OF_ORDER:
        assert rendered(CODELLAMA_70B, CONVERSATIONS[case]) is None
        return
    ours = rendered(CODELLAMA_70B, CONVERSATIONS[case]).replace("<step>", " <step> ")
    history = published.removesuffix(CODELLAMA_70B.prompt)
    if case in PROMPTED:
        ours = ours.removesuffix(CODELLAMA_70B.prompt)
    assert ours == history.replace("Source: assistant\n\n ", CODELLAMA_70B.prompt)


@pytest.mark.parametrize("dummy_prefix", [False, True])
def test_codellama_70b_tokens_are_those_of_metas_reference(data_dir, dummy_prefix):
    # The model card of codellama/CodeLlama-70b-Instruct-hf: tokens of dialog_prompt_tokens.
    path = data_dir / "tokenizers/llama2/tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    model.normalizer_spec.add_dummy_prefix = dummy_prefix
    for index in range(32000, 32015):
        model.pieces.add(piece=f"<unused {index}>", score=0, type=model.SentencePiece.CONTROL)
    model.pieces.add(piece="<step>", score=0, type=model.SentencePiece.USER_DEFINED)
    tokenizer = SentencePieceTokenizer(model.SerializeToString(), "tokenizer.model")
    asked = conversation("First user query", system="System prompt    ")
    assert tokenize(asked, CODELLAMA_70B, tokenizer).tokens.tolist() == [
        *(1, 7562, 29901, 1788, 13, 13, 2184, 9508, 32015),
        *(7562, 29901, 1404, 13, 13, 3824, 1404, 2346, 32015),
        *(7562, 29901, 20255, 13, 14994, 3381, 29901, 1404, 13, 13, 29871),
    ]


@pytest.mark.parametrize("case", [f"{count} turns" for count in range(1, 6)])
def test_starcoder2_without_system_turn_is_as_starcoder2_instruct(case):
    # The published template always ends with a generation prompt.
    published = GOLDEN["published"]["starcoder2"][case]
    if case not in PROMPTED:
        published = published.removesuffix(STARCODER2.prompt)
    assert rendered(STARCODER2, CONVERSATIONS[case]) == published


def test_starcoder2_has_the_system_turn_in_place_of_its_opening_sentence():
    default = rendered(STARCODER2, conversation("Hello"))
    assert rendered(STARCODER2, conversation("Hello", system="Be brief.")) == default.replace(
        STARCODER2.default_system, "Be brief."
    )
