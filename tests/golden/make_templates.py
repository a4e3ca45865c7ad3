"""Makes templates.json: conversations as transformers renders them with published chat templates.

    python -m tests.golden.make_templates FOLDER        # needs transformers and jinja2

FOLDER has a file ``<template>.jinja`` for each template below: the ``chat_template`` of that
model's tokenizer. The committed file was made from copies of them that public repositories hold
(tests of llama.cpp and of text-generation-inference among them), those of Llama-3.1 and Qwen2.5
without their branches for tools.

The file also has how transformers renders and encodes the Jinja text that ocijax makes of its own
templates, the latter with the DeepSeek-Coder vocabulary below ``OCIJAX_DATA_DIR``; it is made anew
whenever that text changes.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from ocijax.template import TEMPLATES, chat_template
from tests.template.vocabularies import extended_json

PUBLISHED = {
    "deepseek-coder": (
        "deepseek-ai/deepseek-coder-33b-instruct",
        "<｜begin▁of▁sentence｜>",  # noqa: RUF001
        "<|EOT|>",
    ),
    "llama-2": ("codellama/CodeLlama-7b-Instruct-hf", "<s>", "</s>"),
    "codellama-70b": ("codellama/CodeLlama-70b-Instruct-hf", "<s>", "</s>"),
    "starcoder2": ("bigcode/starcoder2-15b-instruct-v0.1", "<|endoftext|>", "<|endoftext|>"),
    "gemma": ("google/gemma-7b-it", "<bos>", "<eos>"),
    "llama-3": ("meta-llama/Meta-Llama-3-8B-Instruct", "<|begin_of_text|>", "<|eot_id|>"),
    "llama-3.1": ("meta-llama/Llama-3.1-8B-Instruct", "<|begin_of_text|>", "<|eot_id|>"),
    "chatml": ("teknium/OpenHermes-2.5-Mistral-7B", "<s>", "<|im_end|>"),
    "qwen2.5": ("Qwen/Qwen2.5-Coder-7B-Instruct", "<|endoftext|>", "<|im_end|>"),
}
"""Model, begin and end of sequence."""

SYSTEM = "  Write \"Python\" 'code'\\n.\n"
TURNS = (
    "  Add two numbers {a} and {content}.\n",
    "```python\ndef add(a, b):\n    return a + b\n```",
    "\n Execution result: \n42 ü 漢 🙂 \t",
    "   It {{ works }}. \n\n",
    "Thanks {% end %}",
)


def conversations() -> dict[str, list[dict[str, str]]]:
    """Every number of turns, without and with a system turn, and turns that no format has."""
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(TURNS)]
    system = {"role": "system", "content": SYSTEM}
    return {
        **{f"{count} turns": turns[:count] for count in range(1, len(turns) + 1)},
        **{f"system and {count} turns": [system, *turns[:count]] for count in range(1, 6)},
        "an answer first": turns[1:],
        "two user turns": [turns[0], turns[2]],
        "two answers": [*turns[:2], turns[3]],
        "system last": [turns[0], system],
    }


def render(chat_template: str, messages: list[dict[str, str]], **tokens: Any) -> str | None:
    """What transformers makes of it; ``None`` where the template raises an exception.

    A conversation that ends with a user turn gets the generation prompt.
    """
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **tokens)
    try:
        return tokenizer.apply_chat_template(
            messages,
            chat_template=chat_template,
            tokenize=False,
            add_generation_prompt=messages[-1]["role"] == "user",
        )
    except TemplateError:
        return None


def ours() -> dict[str, dict[str, str | None]]:
    """Every conversation by every template of ours."""
    return {
        name: {
            case: render(chat_template(template), messages)
            for case, messages in conversations().items()
        }
        for name, template in TEMPLATES.items()
    }


def published(folder: Path) -> dict[str, dict[str, str | None]]:
    """Every conversation by every published template, read from ``<template>.jinja``."""
    return {
        name: {
            case: render(
                (folder / f"{name}.jinja").read_text(), messages, bos_token=begin, eos_token=end
            )
            for case, messages in conversations().items()
        }
        for name, (_, begin, end) in PUBLISHED.items()
    }


def deepseek_ids() -> dict[str, dict[str, list[int]]]:
    """The longest conversations by every template of ours, encoded as one text each."""
    path = Path(os.environ["OCIJAX_DATA_DIR"], "tokenizers/recovered/deepseek-coder.tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(extended_json(path)))
    )
    texts = {
        name: {case: text for case, text in rendered.items() if text and "5 turns" in case}
        for name, rendered in ours().items()
    }
    return {
        name: {
            case: tokenizer.encode(text, add_special_tokens=False) for case, text in cases.items()
        }
        for name, cases in texts.items()
    }


def main() -> None:
    """Writes the file beside this script."""
    golden = {
        "conversations": conversations(),
        "published": published(Path(sys.argv[1])),
        "chat_templates": {name: chat_template(template) for name, template in TEMPLATES.items()},
        "ours": ours(),
        "deepseek_ids": deepseek_ids(),
    }
    path = Path(__file__).with_name("templates.json")
    text = json.dumps(golden, ensure_ascii=False, indent=1)
    # A list of numbers takes one line.
    text = re.sub(r"\d+,\n\s+(?=\d)", lambda number: number[0].split(",")[0] + ", ", text)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
