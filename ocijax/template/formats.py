"""The chat formats, as data: each says whose it is and where it differs from its model's own.

All of them take an optional system turn, then user and assistant in turn; a format without a
system turn says so.
"""

from dataclasses import replace

from ocijax.errors import InputError
from ocijax.template.rendering import Template

_DEEPSEEK_BEGIN = "<｜begin▁of▁sentence｜>"  # noqa: RUF001

DEEPSEEK_CODER = Template(
    name="deepseek-coder",
    special_tokens=(_DEEPSEEK_BEGIN, "<|EOT|>"),
    begin_of_sequence=_DEEPSEEK_BEGIN,
    end_of_turn="<|EOT|>",
    start=_DEEPSEEK_BEGIN,
    system="{content}",
    default_system=(
        "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by"
        " Deepseek Company, and you only answer questions related to computer science. For"
        " politically sensitive questions, security and privacy issues, and other non-computer"
        " science questions, you will refuse to answer\n"
    ),
    user="### Instruction:\n{content}\n",
    prompt="### Response:\n",
    answer="{content}\n<|EOT|>",
    after_answer="\n",
)
"""DeepSeek-Coder instruct, as in its tokenizer's chat template; OpenCodeInterpreter-DS too."""

LLAMA2 = Template(
    name="llama-2",
    special_tokens=("<s>", "</s>"),
    begin_of_sequence="<s>",
    end_of_turn="</s>",
    system="<s>[INST] <<SYS>>\n{content}\n<</SYS>>\n\n",
    user="<s>[INST] {content.strip()} [/INST]",
    user_after_system="{content.rstrip()} [/INST]",
    answer=" {content.strip()} </s>",
)
"""Llama-2 chat and CodeLlama Instruct 7B to 34B, as in Meta's ``llama/generation.py``.

The system turn is a part of the first user turn.
"""

CODELLAMA_70B = Template(
    name="codellama-70b",
    special_tokens=("<s>", "<step>"),
    begin_of_sequence="<s>",
    end_of_turn="<step>",
    start="<s>",
    system="Source: system\n\n {content.strip()}<step>",
    user="Source: user\n\n {content.strip()}<step>",
    prompt="Source: assistant\nDestination: user\n\n ",
    answer="{content.strip()}<step>",
    text_prefix=" ",
    jinja_spellings=(("<step>", " <step> "),),
)
"""CodeLlama-70B Instruct, token for token as in ``dialog_prompt_tokens`` of Meta's
``llama/generation.py``.

Earlier answers keep the line ``Destination: user`` of their generation prompt, as in Meta's code;
the Hugging Face template drops it from them, and what a model wrote is not what it reads later.
A conversation without system turn has none, as there; Meta's code puts an empty one.
"""

STARCODER2 = Template(
    name="starcoder2",
    special_tokens=("<|endoftext|>",),
    begin_of_sequence="<|endoftext|>",
    end_of_turn="<|endoftext|>",
    start="<|endoftext|>",
    system="{content}\n\n",
    default_system=(
        "You are an exceptionally intelligent coding assistant that consistently delivers accurate"
        " and reliable responses to user instructions."
    ),
    user="### Instruction\n{content}\n\n",
    prompt="### Response\n",
    answer="{content}<|endoftext|>",
    after_answer="\n\n",
)
"""Ours for StarCoder2, whose base models have no chat format.

Without a system turn it is the text of StarCoder2-15B-Instruct's chat template, which refuses one;
here it stands in place of the opening sentence. ``<|endoftext|>`` begins a text and ends an
answer, as in pretraining.
"""

GEMMA = Template(
    name="gemma",
    special_tokens=("<bos>", "<start_of_turn>", "<end_of_turn>"),
    begin_of_sequence="<bos>",
    end_of_turn="<end_of_turn>",
    start="<bos>",
    system=None,
    user="<start_of_turn>user\n{content.strip()}<end_of_turn>\n",
    prompt="<start_of_turn>model\n",
    answer="{content.strip()}<end_of_turn>",
    after_answer="\n",
)
"""Gemma and CodeGemma instruct, as in their tokenizer's chat template: no system turn."""

LLAMA3 = Template(
    name="llama-3",
    special_tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    begin_of_sequence="<|begin_of_text|>",
    end_of_turn="<|eot_id|>",
    start="<|begin_of_text|>",
    system="<|start_header_id|>system<|end_header_id|>\n\n{content.strip()}<|eot_id|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n{content.strip()}<|eot_id|>",
    prompt="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answer="{content.strip()}<|eot_id|>",
)
"""Llama-3 Instruct, as in its tokenizer's chat template."""

LLAMA3_1 = replace(
    LLAMA3,
    name="llama-3.1",
    system=(
        "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\n{content.strip()}<|eot_id|>"
    ),
    default_system="",
)
"""Llama-3.1 Instruct, as in its tokenizer's chat template without tools and with its own date."""

CHATML = Template(
    name="chatml",
    special_tokens=("<|im_start|>", "<|im_end|>"),
    end_of_turn="<|im_end|>",
    system="<|im_start|>system\n{content}<|im_end|>\n",
    user="<|im_start|>user\n{content}<|im_end|>\n",
    prompt="<|im_start|>assistant\n",
    answer="{content}<|im_end|>",
    after_answer="\n",
)
"""ChatML without a default system turn.

It serves Qwen3, whose own template is not stable: it drops the thinking of earlier answers, and
puts an empty one before the last. Thinking that an answer shall have is part of its content here.
"""

QWEN2_5 = replace(
    CHATML,
    name="qwen2.5",
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
)
"""Qwen2.5 and Qwen2.5-Coder Instruct, as in their tokenizer's chat template without tools."""

TEMPLATES = {
    template.name: template
    for template in (
        DEEPSEEK_CODER,
        LLAMA2,
        CODELLAMA_70B,
        STARCODER2,
        GEMMA,
        LLAMA3,
        LLAMA3_1,
        CHATML,
        QWEN2_5,
    )
}


def get_template(name: str) -> Template:
    """The template of that name.

    Raises:
      InputError: there is none; the message lists those there are.
    """
    if name not in TEMPLATES:
        raise InputError(f"template {name!r} is unknown; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
