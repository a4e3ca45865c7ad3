"""Protocols: what the model sees between its answers.

- ``single``: the instruction; one answer.
- ``execution``: the instruction; after a program that fails the task's public tests, what running
  it said of the first one that failed; then another answer, up to ``rounds`` in all. Public tests
  are those in the prompt, or that a file of tasks calls so: most of HumanEval's and MBPP's score
  too, but the model has read them already. A task without any goes on only where its program could
  not even be loaded.
- ``scrambled``: as ``execution``, but every task is shown the feedback of another one that failed
  in the same round. What a second try gains without reading.
- ``resample``: the instruction alone, again and again, up to ``rounds`` independent answers; the
  same public tests end it. What ``execution`` gains over it, it gains by reading.
- ``resample_tokens``: likewise, but each task is answered until it has had as many tokens as in
  another run, the budget; the answer that would exceed them is cut.
- ``execution_oracle``: the instruction; after a program that fails the tests that score, the first
  one that failed, with what it expects: the paper's protocol (arXiv 2402.14658), whose figures it
  compares with at two rounds and the prompts ``paper``. With ``base`` only those tests are run and
  shown, with ``plus`` both suites; the paper's two figures come from a run of each.
- ``human``: as ``execution_oracle``, but the model sees at most three sentences of guidance, which
  another model, the adviser, words from problem, program and that feedback.
- ``human_oracle``: likewise, and the adviser also reads the reference solution.

The answer that scores is the one that passed the tests that end a task, or else the last with a
program. Those that show tests that score, or have an adviser read them, are oracles: no user has
such tests.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ocijax.errors import InputError
from ocijax.prompts.prompts import Prompts, Wording
from ocijax.refine.feedback import OURS
from ocijax.refine.loop import SHOW_FEEDBACK, AskAgain, Trajectory
from ocijax.sample.settings import Generator, SamplingSettings

MOST_SENTENCES = 3
"""Of guidance, as in the paper."""

_GUIDANCE_TOKENS = 256


def ask_afresh(unfinished: Sequence[Trajectory], chance: random.Random) -> list[None]:
    """Each task is asked as if it had never been."""
    del chance
    return [None] * len(unfinished)


def show_feedback_of_another(
    unfinished: Sequence[Trajectory], chance: random.Random, wording: Wording = OURS
) -> list[str]:
    """Each task is told what the program of another one did; as a rule each is told of once.

    Where no other task failed it is told ``wording.unknown``.
    """
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
        feedback = wording.label + wording.unknown if same else other.attempts[-1].feedback
        shown[one.task.task_id, one.sample] = feedback
    return [shown[one.task.task_id, one.sample] for one in unfinished]


@dataclass(frozen=True)
class Guidance:
    """Has an adviser say what is wrong, instead of showing it; see `ocijax.refine.loop.Ask`.

    Attributes:
      protocol: ``human`` or ``human_oracle``, which says what the adviser reads.
      adviser: is asked.
      prompts: how.
      seed: of its draws.
    """

    protocol: str
    adviser: Generator
    prompts: Prompts
    seed: int

    def __call__(self, unfinished: Sequence[Trajectory], chance: random.Random) -> list[str]:
        """Guidance for each, at most `MOST_SENTENCES` long."""
        del chance
        asked = [
            self.prompts.ask_adviser(
                self.protocol, one.task, one.program, one.attempts[-1].feedback
            )
            for one in unfinished
        ]
        settings = SamplingSettings(_GUIDANCE_TOKENS, seed=self.seed)
        return [first_sentences(one.text) for one in self.adviser.generate(asked, settings)]


def first_sentences(text: str, count: int = MOST_SENTENCES) -> str:
    """The first sentences of a text; a full stop, question or exclamation mark ends one."""
    return " ".join(re.split(r"(?<=[.!?])\s+", text.strip())[:count])


@dataclass(frozen=True)
class Protocol:
    """What a protocol needs.

    Attributes:
      oracle: whether the tests that score end a task and are told of, instead of public ones.
      advised: whether an adviser words the feedback.
      budgeted: whether tokens end a task, and not rounds.
    """

    oracle: bool = False
    advised: bool = False
    budgeted: bool = False


PROTOCOLS = {
    "single": Protocol(),
    "execution": Protocol(),
    "scrambled": Protocol(),
    "resample": Protocol(),
    "resample_tokens": Protocol(budgeted=True),
    "execution_oracle": Protocol(oracle=True),
    "human": Protocol(oracle=True, advised=True),
    "human_oracle": Protocol(oracle=True, advised=True),
}


def ask_again(
    protocol: str, prompts: Prompts, adviser: Generator | None = None, seed: int = 0
) -> AskAgain:
    """How unfinished tasks go on.

    Args:
      protocol: one of `PROTOCOLS`.
      prompts: what a model is told.
      adviser: words guidance, where the protocol has it.
      seed: of its draws.
    """
    match protocol:
        case "scrambled":
            ask = partial(show_feedback_of_another, wording=prompts.wording)
            return AskAgain(ask, together=True)
        case "resample" | "resample_tokens":
            return AskAgain(ask_afresh)
        case "human" | "human_oracle":
            return AskAgain(Guidance(protocol, adviser, prompts, seed))
    return SHOW_FEEDBACK


def check_protocol(protocol: str, rounds: int, temperature: float) -> None:
    """Refuses what would measure nothing.

    Raises:
      InputError: the protocol is unknown, or rounds or temperature do not fit it.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {protocol!r} is unknown; there are {', '.join(PROTOCOLS)}")
    if rounds < 1:
        raise InputError(f"rounds={rounds}: at least 1")
    several = rounds > 1 or PROTOCOLS[protocol].budgeted
    if protocol.startswith("resample") and several and temperature == 0:
        raise InputError(
            f"protocol {protocol}: at temperature 0 every answer is the same; give a --temperature"
        )
