"""Conversations that have grown too long for a model's context lose whole turns."""

import threading
from collections.abc import Sequence

import numpy as np

from ocijax.conversation import Conversation
from ocijax.data.truncation import kept_messages
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer


class ContextGenerator:
    """Asks a generator with as much of each conversation as its context holds; see `Generator`.

    Turns are lost as in training, from the left after the first user turn, see
    `ocijax.data.truncation`. What is left over for the answer is its longest length, or half of the
    context where that is less.

    Args:
      generator: answers.
      template: of its model.
      tokenizer: of its model.
      context: tokens that the model can hold, prompt and answer together.
    """

    def __init__(
        self, generator: Generator, template: Template, tokenizer: Tokenizer, context: int
    ):
        self._generator = generator
        self._template = template
        self._tokenizer = tokenizer
        self._context = context
        self._lock = threading.Lock()
        self.shortened = 0

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; ``shortened`` counts those cut."""
        limit = self._context - min(settings.max_new_tokens, self._context // 2)
        asked = [shorten(one, self._template, self._tokenizer, limit) for one in conversations]
        pairs = zip(asked, conversations, strict=True)
        with self._lock:
            self.shortened += sum(one is not other for one, other in pairs)
        return self._generator.generate(asked, settings)

    def forget(self, conversation: Conversation) -> None:
        """Passed on; one that was shortened is not found."""
        self._generator.forget(conversation)


def shorten(
    conversation: Conversation, template: Template, tokenizer: Tokenizer, limit: int
) -> Conversation:
    """The conversation, or its latest turns after the first user turn, in ``limit`` tokens.

    Args:
      conversation: ends with a user turn.
      template: of the model.
      tokenizer: of the model.
      limit: most tokens of the prompt. Where not even the shortest form fits, that form is given.
    """
    # What is left of the answer to come is its generation prompt.
    roles = [*(message.role for message in conversation.messages), "assistant"]
    tokenized = tokenize(conversation, template, tokenizer)
    sizes = np.bincount(tokenized.messages, minlength=len(roles)).tolist()
    if sum(sizes) <= limit:
        return conversation
    kept = kept_messages(roles, sizes, limit) or [*range(roles.index("assistant")), -1]
    messages = tuple(conversation.messages[index] for index in kept[:-1])
    return Conversation(conversation.id, messages, conversation.source, conversation.metadata)
