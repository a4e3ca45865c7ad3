"""Chat templates: `get_template` finds one by name, `tokenize` renders and encodes with it."""

from ocijax.template.formats import (
    CHATML,
    CODELLAMA_70B,
    DEEPSEEK_CODER,
    GEMMA,
    LLAMA2,
    LLAMA3,
    LLAMA3_1,
    QWEN2_5,
    STARCODER2,
    TEMPLATES,
    get_template,
)
from ocijax.template.jinja import chat_template
from ocijax.template.rendering import Piece, Template, TokenizedConversation, tokenize

__all__ = [
    "CHATML",
    "CODELLAMA_70B",
    "DEEPSEEK_CODER",
    "GEMMA",
    "LLAMA2",
    "LLAMA3",
    "LLAMA3_1",
    "QWEN2_5",
    "STARCODER2",
    "TEMPLATES",
    "Piece",
    "Template",
    "TokenizedConversation",
    "chat_template",
    "get_template",
    "tokenize",
]
