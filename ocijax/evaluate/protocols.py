"""What a model sees when it is measured.

- ``single``: the instruction; one answer.
- ``execution``: the instruction; if its program fails a public test (one that the instruction may
  show), what the execution gave, as a user turn; then another answer, up to ``rounds`` in all. The
  tests that score are never shown. A task without public tests goes on only where its program
  could not even be loaded.
- ``resample``: the instruction alone, again and again, up to ``rounds`` independent answers; the
  same public tests end it. What ``execution`` gains over it, it gains by reading.
- ``scrambled``: as ``execution``, but every task is shown the feedback of another one that failed
  in the same round. What a second try gains without reading.

The answer that scores is the one that passed the public tests, or else the last with a program.
"""

import random
from collections import Counter
from collections.abc import Sequence

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.refine.feedback import LABEL
from ocijax.refine.loop import SHOW_FEEDBACK, AskAgain, Trajectory, begin

UNINFORMATIVE = LABEL + "AssertionError: wrong output"
"""Shown by ``scrambled`` where no other task failed."""


def ask_afresh(unfinished: Sequence[Trajectory], chance: random.Random) -> list[Conversation]:
    """Each task is asked as if it had never been."""
    del chance
    return [begin(one.task).conversation for one in unfinished]


def show_feedback_of_another(
    unfinished: Sequence[Trajectory], chance: random.Random
) -> list[Conversation]:
    """Each task is told what the program of another one did; as a rule each is told of once."""
    tasks = Counter(one.task.task_id for one in unfinished)
    # In a circle in which a task's samples are neighbours, so many steps on lies another task.
    shuffled = chance.sample(list(tasks), len(tasks))
    places = {task_id: place for place, task_id in enumerate(shuffled)}
    circle = sorted(unfinished, key=lambda one: places[one.task.task_id])
    step = max(tasks.values(), default=0)
    shown = {}
    for place, one in enumerate(circle):
        other = circle[(place + step) % len(circle)]
        same = other.task.task_id == one.task.task_id
        shown[one.task.task_id, one.sample] = UNINFORMATIVE if same else other.attempts[-1].feedback
    return [
        one.conversation.append("user", shown[one.task.task_id, one.sample]) for one in unfinished
    ]


PROTOCOLS: dict[str, AskAgain | None] = {
    "single": None,
    "execution": SHOW_FEEDBACK,
    "resample": AskAgain(ask_afresh),
    "scrambled": AskAgain(show_feedback_of_another, together=True),
}
"""How each protocol asks again; ``None``: it does not."""


def check_protocol(protocol: str, rounds: int, temperature: float) -> None:
    """Refuses what would measure nothing.

    Raises:
      InputError: the protocol is unknown, or rounds or temperature do not fit it.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {protocol!r} is unknown; there are {', '.join(PROTOCOLS)}")
    if rounds < 1:
        raise InputError(f"rounds={rounds}: at least 1")
    if protocol == "resample" and rounds > 1 and temperature == 0:
        raise InputError(
            "protocol resample: at temperature 0 every answer is the same; give a --temperature"
        )
