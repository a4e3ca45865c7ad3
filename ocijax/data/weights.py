"""Loss-weight policies: how much each message of a conversation counts in training."""

import math
from collections.abc import Callable

from ocijax.conversation import Conversation
from ocijax.errors import InputError


def _answers(conversation: Conversation) -> list[int]:
    return [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]


def _all(conversation: Conversation) -> list[float]:
    return [1.0] * len(_answers(conversation))


def _last(conversation: Conversation) -> list[float]:
    return [0.0] * (len(_answers(conversation)) - 1) + [1.0]


def _passed(conversation: Conversation) -> list[float]:
    return [float(value is True) for value in _listed(conversation, "passed")]


def _custom(conversation: Conversation) -> list[float]:
    weights = _listed(conversation, "loss_weights")
    for weight in weights:
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight < 0:
            raise InputError(
                f"conversation {conversation.id!r}: metadata 'loss_weights' has {weight!r}, which"
                " is not a finite number of at least 0"
            )
    return [float(weight) for weight in weights]


def _listed(conversation: Conversation, key: str) -> list:
    values = conversation.metadata.get(key)
    answers = len(_answers(conversation))
    if not isinstance(values, list | tuple) or len(values) != answers:
        raise InputError(
            f"conversation {conversation.id!r}: metadata {key!r} must list one value for each of"
            f" its {answers} assistant turns"
        )
    return list(values)


POLICIES: dict[str, Callable[[Conversation], list[float]]] = {
    "all": _all,
    "last": _last,
    "passed": _passed,
    "custom": _custom,
}
"""Policies by name; each gives one weight for every assistant turn.

- ``all``: every assistant turn counts 1, wrong first answers too (the OpenCodeInterpreter paper's,
  arXiv 2402.14658).
- ``last``: only the last one counts.
- ``passed``: those count whose code passed: metadata ``passed`` lists true, false or null for each
  assistant turn.
- ``custom``: metadata ``loss_weights`` lists a number for each assistant turn.
"""


def message_weights(conversation: Conversation, policy: str) -> list[float]:
    """The loss weight of each message; 0 for all but assistant turns.

    Raises:
      InputError: the policy is unknown, or the conversation's metadata lacks what it needs.
    """
    if policy not in POLICIES:
        raise InputError(
            f"loss-weight policy {policy!r} is unknown; there are {', '.join(POLICIES)}"
        )
    weights = [0.0] * len(conversation.messages)
    answers = _answers(conversation)
    if answers:
        for index, weight in zip(answers, POLICIES[policy](conversation), strict=True):
            weights[index] = weight
    return weights
