"""Which conversations are held out for the evaluation loss."""

import hashlib
from collections.abc import Iterable

from ocijax.conversation import Conversation


def split_holdout(
    conversations: Iterable[Conversation], fraction: float, seed: int = 0
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations to train on, and about ``fraction`` of them held out.

    The first user turn decides, so one question is never on both sides, and neither the order of
    the conversations nor adding others moves one from one side to the other.
    """
    train, held_out = [], []
    for conversation in conversations:
        question = next(
            (message.content for message in conversation.messages if message.role == "user"), ""
        )
        digest = hashlib.sha256(f"{seed} {question}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held_out if share < fraction else train).append(conversation)
    return train, held_out
