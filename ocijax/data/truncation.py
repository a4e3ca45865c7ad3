"""Which turns of an over-long conversation are kept."""

from collections.abc import Sequence


def kept_messages(roles: Sequence[str], sizes: Sequence[int], limit: int) -> list[int] | None:
    """Indices of the messages to keep so that their sizes sum to at most ``limit``.

    Whole turns are lost, from the left after the first user turn: an answer with the user turn
    that replies to it. The system turn, the first user turn and the final answer always stay.

    Args:
      roles: an optional ``system``, then ``user`` and ``assistant`` in turn; the latter ends it.
      sizes: size of each message, in tokens.
      limit: what may be kept.

    Returns:
      The indices, ascending, or ``None`` where not even the shortest form fits.
    """
    first_answer = roles.index("assistant")
    head, tail = list(range(first_answer)), list(range(first_answer, len(roles)))
    while sum(sizes[index] for index in head + tail) > limit:
        if len(tail) == 1:
            return None
        tail = tail[2:]
    return head + tail
