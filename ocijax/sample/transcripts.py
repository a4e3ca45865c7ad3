"""Conversations as the tokens that the model read and wrote, although they come back as text.

Text that was generated may be encoded into other tokens than it was generated as. What the model
said is therefore looked up by all that was said before, and only the rest is encoded.
"""

import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np

from ocijax.conversation import Conversation, Message
from ocijax.sample.settings import Completion
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer

_REMEMBERED = 8192
"""Answers, and encoded texts; those that were not asked for longest are forgotten."""


class Transcripts:
    """The tokens of conversations, as far as they are known those that were generated.

    Several threads may use them at once.

    Args:
      template: of the model.
      tokenizer: of the model.
    """

    def __init__(self, template: Template, tokenizer: Tokenizer):
        self._template = template
        self._tokenizer = tokenizer
        self._encode = lru_cache(_REMEMBERED)(tokenizer.encode)
        self._end_of_turn = template.special_ids(tokenizer)[template.end_of_turn]
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[Message, ...], tuple[int, ...]] = OrderedDict()

    def remember(self, conversation: Conversation, completion: Completion) -> None:
        """Keeps the tokens of an answer, unless a stop string cut it."""
        tokens = completion.tokens
        if completion.finish_reason == "length":
            tokens = (*tokens, self._end_of_turn)
        if tokens[-1] != self._end_of_turn:
            return
        said = (*conversation.messages, Message("assistant", completion.text))
        with self._lock:
            self._answers[said] = tokens
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)

    def tokens(self, conversation: Conversation) -> np.ndarray:
        """A conversation with its generation prompt, ``[length]`` int32.

        Raises:
          InputError: as `ocijax.template.tokenize`.
        """
        messages = conversation.messages
        answers = {
            index: known
            for index, message in enumerate(messages)
            if message.role == "assistant" and (known := self._recall(messages[: index + 1]))
        }
        return tokenize(conversation, self._template, self._tokenizer, self._encode, answers).tokens

    def _recall(self, said: tuple[Message, ...]) -> tuple[int, ...] | None:
        with self._lock:
            if said in self._answers:
                self._answers.move_to_end(said)
            return self._answers.get(said)
