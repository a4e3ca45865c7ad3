"""Conversations to render."""

from hypothesis import strategies as st

from ocijax.conversation import Conversation, Message
from ocijax.template import Template


def conversation(*contents: str, system: str | None = None) -> Conversation:
    """User and assistant in turn, after the system turn if there is one."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], content) for i, content in enumerate(contents))
    if system is not None:
        messages = (Message("system", system), *messages)
    return Conversation("id", messages)


CONTENT = st.text(st.characters(codec="utf-8", exclude_characters=["\u2581"]), min_size=1)


def conversations(template: Template) -> st.SearchStrategy[Conversation]:
    """Any that the format can express."""
    return st.builds(
        lambda contents, system: conversation(*contents, system=system),
        st.lists(CONTENT, min_size=1, max_size=7),
        st.none() if template.system is None else st.none() | CONTENT,
    )
