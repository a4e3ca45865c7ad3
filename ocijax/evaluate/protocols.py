"""What a model sees when it is measured.

- ``single``: the instruction; one answer.
- ``execution``: the instruction; if its program fails a public test (one that the instruction may
  show), what the execution gave, as a user turn; then another answer, up to ``rounds`` in all. The
  tests that score are never shown.
- ``resample``: the instruction alone, again and again, up to ``rounds`` independent answers; the
  same public tests end it. What `execution` gains over it, it gains by reading.
- ``scrambled``: as ``execution``, but every task is shown the feedback of another one that failed
  in the same round. What a second try gains without reading.

The answer that scores is the one that passed the public tests, or else the last with a program.
"""

import random
from collections.abc import Sequence

from ocijax.errors import InputError
from ocijax.judge.task import Task
from ocijax.refine.feedback import LABEL
from ocijax.refine.loop import Trajectory, refine, resample
from ocijax.sample.settings import Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

PROTOCOLS = ("single", "execution", "resample", "scrambled")

UNINFORMATIVE = LABEL + "AssertionError: wrong output"
"""Shown by ``scrambled`` where no other task failed."""


async def run_protocol(
    protocol: str,
    generator: Generator,
    sandbox: Sandbox,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    rounds: int,
) -> list[Trajectory]:
    """The trajectories of the tasks under a protocol, in order.

    Args:
      protocol: one of `PROTOCOLS`.
      generator: answers.
      sandbox: runs the programs.
      tasks: what to solve, side by side.
      settings: how to answer.
      rounds: most answers for a task; ``single`` has one.

    Raises:
      InputError: there is no such protocol.
    """
    match protocol:
        case "single":
            return await resample(generator, sandbox, tasks, settings, 1)
        case "resample":
            return await resample(generator, sandbox, tasks, settings, rounds)
        case "execution":
            return await refine(generator, sandbox, tasks, settings, rounds)
        case "scrambled":
            shuffler = random.Random(settings.seed)

            def exchange(identifiers: Sequence[str], feedback: Sequence[str]) -> list[str]:
                return exchanged(identifiers, feedback, shuffler)

            return await refine(generator, sandbox, tasks, settings, rounds, exchange)
    raise InputError(f"protocol {protocol!r} is unknown; there are {', '.join(PROTOCOLS)}")


def exchanged(
    identifiers: Sequence[str], feedback: Sequence[str], shuffler: random.Random
) -> list[str]:
    """The same feedback, none where it was: each task gets that of the next in a random circle."""
    if len(identifiers) == 1:
        return [UNINFORMATIVE]
    circle = shuffler.sample(range(len(identifiers)), len(identifiers))
    shown = [""] * len(identifiers)
    for place, index in enumerate(circle):
        shown[index] = feedback[circle[place - 1]]
    return shown
