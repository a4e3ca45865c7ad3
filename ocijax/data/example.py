"""From a conversation to what one is trained on: tokens and a loss weight for each."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from ocijax.conversation import Conversation
from ocijax.data.truncation import kept_messages
from ocijax.data.weights import message_weights
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer


@dataclass(frozen=True)
class Example:
    """One conversation, ready for packing.

    Attributes:
      tokens: int32 ``[length]``.
      loss_weights: float32 ``[length]``; element i weighs the loss of predicting token i from
        those before it. The first is 0: nothing predicts it.
    """

    tokens: np.ndarray
    loss_weights: np.ndarray


@dataclass(frozen=True)
class Counts:
    """What became of conversations on their way to examples; counts add up.

    Attributes:
      conversations: read.
      examples: made.
      tokens: in examples.
      trained_tokens: of these, with a loss weight above 0.
      shortened: conversations that lost turns because they were too long.
      dropped_turns: user and assistant turns lost that way.
      dropped_unanswered: user turns at an end, which no answer follows.
      too_long: conversations whose first user turn and final answer alone do not fit.
      untrained: conversations in which the policy weighs nothing.
    """

    conversations: int = 0
    examples: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    shortened: int = 0
    dropped_turns: int = 0
    dropped_unanswered: int = 0
    too_long: int = 0
    untrained: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Counts(**sums)


def make_example(
    conversation: Conversation,
    template: Template,
    tokenizer: Tokenizer,
    *,
    length: int,
    policy: str = "all",
) -> tuple[Example | None, Counts]:
    """The example of a conversation, and what was dropped from it.

    Args:
      conversation: with an answer to learn from; a last user turn without one is dropped.
      template: how it is rendered.
      tokenizer: one that has the template's special tokens.
      length: most tokens of an example; `kept_messages` says how a longer one is shortened.
      policy: one of `ocijax.data.weights.POLICIES`.

    Returns:
      The example, or ``None`` where nothing of the conversation can be trained on.

    Raises:
      InputError: the tokenizer lacks special tokens, or the metadata what the policy needs.
    """
    messages, unanswered = conversation.messages, 0
    while messages and messages[-1].role != "assistant":
        unanswered += messages[-1].role == "user"
        messages = messages[:-1]
    counts = Counts(conversations=1, dropped_unanswered=unanswered)
    if not messages:
        return None, counts + Counts(untrained=1)
    conversation = Conversation(
        conversation.id, messages, conversation.source, conversation.metadata
    )
    weights = np.array(message_weights(conversation, policy), np.float32)
    tokenized = tokenize(conversation, template, tokenizer)
    sizes = np.bincount(tokenized.messages, minlength=len(messages)).tolist()
    kept = kept_messages([message.role for message in messages], sizes, length)
    if kept is None:
        return None, counts + Counts(too_long=1)
    if len(kept) < len(messages):
        counts += Counts(shortened=1, dropped_turns=len(messages) - len(kept))
    stays = np.isin(tokenized.messages, kept)
    loss_weights = np.where(tokenized.completion, weights[tokenized.messages], 0)[stays]
    trained = int(np.count_nonzero(loss_weights))
    if not trained:
        return None, counts + Counts(untrained=1)
    example = Example(tokenized.tokens[stays], loss_weights.astype(np.float32))
    return example, counts + Counts(examples=1, tokens=len(example.tokens), trained_tokens=trained)


def make_examples(
    conversations: Iterable[Conversation],
    template: Template,
    tokenizer: Tokenizer,
    *,
    length: int,
    policy: str = "all",
) -> tuple[list[Example], Counts]:
    """The examples of all conversations, in order, and what was dropped; see `make_example`."""
    examples, total = [], Counts()
    for conversation in conversations:
        example, counts = make_example(
            conversation, template, tokenizer, length=length, policy=policy
        )
        if example is not None:
            examples.append(example)
        total += counts
    return examples, total
