"""A template as Jinja text, the ``chat_template`` of a Hugging Face tokenizer."""

import json

from ocijax.template.rendering import PLACEHOLDER, Template, fill


def chat_template(template: Template) -> str:
    """Jinja text with which ``apply_chat_template`` of transformers renders as we do.

    It takes ``messages``, each with a ``role`` and a ``content``, and ``add_generation_prompt``;
    special tokens are spelled out. Turns that the format cannot express raise an exception there,
    as `Template.render` refuses them here.
    """

    def write(pattern: str, message: str = "message") -> str:
        for ours, theirs in template.jinja_spellings:
            pattern = pattern.replace(ours, theirs)
        return f"{{{{- {_expression(pattern, message)} -}}}}" if pattern else ""

    system = _refuse("There is no system turn in this format: write it into the first user turn")
    default_system = ""
    if template.system is not None:
        system = write(template.system, "messages[0]")
        if template.default_system is not None:
            default_system = write(fill(template.system, template.default_system))
    user = write(template.user)
    if template.user_after_system is not None:
        always = template.default_system is not None
        after_system = "loop.first" if always else "loop.first and system_turn"
        user = _choose(after_system, write(template.user_after_system), user)
    answer = write(template.prompt + template.answer + template.after_answer)
    lines = [
        '{%- set system_turn = messages[0]["role"] == "system" -%}',
        "{%- set turns = messages[1:] if system_turn else messages -%}",
        write(template.start),
        _choose("system_turn", system, default_system),
        "{%- for message in turns -%}",
        _choose(
            'message["role"] != ("user" if loop.index0 % 2 == 0 else "assistant")',
            _refuse("User and assistant take turns, the user first"),
        ),
        _choose('message["role"] == "user"', user, answer),
        "{%- endfor -%}",
        _choose("add_generation_prompt", write(template.prompt)),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _expression(pattern: str, message: str) -> str:
    """A pattern filled with a message, as a Jinja expression."""
    # Text and the placeholders' trimming take turns.
    parts = [
        f'{message}["content"]{part or ""}' if index % 2 else json.dumps(part, ensure_ascii=False)
        for index, part in enumerate(PLACEHOLDER.split(pattern))
    ]
    return " + ".join(part for part in parts if part != '""')


def _choose(condition: str, then: str, otherwise: str = "") -> str:
    """A Jinja choice; empty where there is nothing to write."""
    if not then:
        return ""
    branches = [f"{{%- if {condition} -%}}", then]
    if otherwise:
        branches += ["{%- else -%}", otherwise]
    return "\n".join([*branches, "{%- endif -%}"])


def _refuse(reason: str) -> str:
    return f"{{{{- raise_exception({json.dumps(reason)}) -}}}}"
