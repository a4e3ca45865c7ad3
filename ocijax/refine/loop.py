"""The loop: answer, run, read what happened, answer again; all unfinished tasks side by side."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ocijax.conversation import Conversation, Message
from ocijax.judge.checker import run_public
from ocijax.judge.task import Task
from ocijax.refine.extract import extract_code
from ocijax.refine.feedback import no_code_feedback, public_feedback
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

_ANSWERS_A_CALL = 128
_SEEDS_BETWEEN_ROUNDS = 1_000_003


@dataclass(frozen=True)
class Attempt:
    """One answer and what became of it.

    Attributes:
      reply: the answer.
      program: the code found in it, or ``None``.
      passed: whether it passed the tests that may be shown; where a task has none, whether it
        could be loaded.
      feedback: what its execution says; empty where it passed.
      generated_tokens: of the answer.
      finish_reason: as in `Completion`.
    """

    reply: str
    program: str | None
    passed: bool
    feedback: str
    generated_tokens: int
    finish_reason: str


@dataclass(frozen=True)
class Trajectory:
    """All that happened to one task.

    Attributes:
      task: what was asked.
      conversation: what the model saw and said last; every turn, unless it was asked afresh.
      attempts: every answer, in order.
      sample: number among the task's independent trajectories.
    """

    task: Task
    conversation: Conversation
    attempts: tuple[Attempt, ...] = ()
    sample: int = 0

    @property
    def passed(self) -> bool:
        """Whether the last attempt passed the tests that may be shown."""
        return bool(self.attempts) and self.attempts[-1].passed

    @property
    def program(self) -> str:
        """The program to score: that of the last attempt that has one; empty where none has."""
        programs = [attempt.program for attempt in self.attempts if attempt.program is not None]
        return programs[-1] if programs else ""


AskAgain = Callable[[Sequence[Trajectory], random.Random], Sequence[Conversation]]
"""``(unfinished trajectories, source of chance) -> what each goes on with``, a user turn last."""


def begin(task: Task, sample: int = 0) -> Trajectory:
    """The trajectory before the first answer: the task's instruction as a user turn."""
    conversation = Conversation(task.task_id, (Message("user", task.instruction),))
    return Trajectory(task, conversation, sample=sample)


def show_feedback(unfinished: Sequence[Trajectory], chance: random.Random) -> list[Conversation]:
    """Each task is told what its last program did."""
    del chance
    return [one.conversation.append("user", one.attempts[-1].feedback) for one in unfinished]


async def refine(
    generator: Generator,
    sandbox: Sandbox,
    trajectories: Sequence[Trajectory],
    settings: SamplingSettings,
    rounds: int,
    *,
    ask_again: AskAgain = show_feedback,
    finish: Callable[[Trajectory], Awaitable[None]] | None = None,
    recall: Callable[[Trajectory, Completion], Attempt | None] = lambda one, completion: None,
) -> list[Trajectory]:
    """Answers each task, shows it what its program did, and lets it answer again.

    A task ends when its program passes the tests that may be shown, or after ``rounds`` answers.
    The generator works in a thread: while it answers, programs of earlier answers run, and so does
    what ``finish`` does.

    Example::

      [trajectory] = asyncio.run(refine(sampler, Sandbox(), [begin(task)], settings, rounds=2))

    Args:
      generator: answers; what it is asked in one call depends on nothing but the arguments here
        and earlier outcomes, so that a repeated run makes the same calls.
      sandbox: runs the programs.
      trajectories: where to begin, see `begin`.
      settings: how to answer; each call draws from a seed of its own.
      rounds: most answers for a task.
      ask_again: what the next round sees.
      finish: awaited with each trajectory as it ends.
      recall: asked for an attempt before it is run: one that is known already is not run again.

    Returns:
      The trajectories at their ends, in order.
    """
    trajectories = list(trajectories)

    async def attempt(index: int, asked: Conversation, completion: Completion, last: bool) -> None:
        before = trajectories[index]
        made = recall(before, completion) or await try_answer(sandbox, before.task, completion)
        trajectories[index] = after = replace(
            before,
            conversation=asked.append("assistant", completion.text),
            attempts=(*before.attempts, made),
        )
        if finish is not None and (made.passed or last):
            await finish(after)

    for number in range(rounds):
        indices = [index for index, one in enumerate(trajectories) if not one.passed]
        asked = [trajectories[index].conversation for index in indices]
        if number:
            chance = random.Random(f"{settings.seed}/{number}")
            asked = ask_again([trajectories[index] for index in indices], chance)
        try:
            async with asyncio.TaskGroup() as running:
                for start in range(0, len(indices), _ANSWERS_A_CALL):
                    part = slice(start, start + _ANSWERS_A_CALL)
                    seed = settings.seed + _SEEDS_BETWEEN_ROUNDS * number + start
                    completions = await asyncio.to_thread(
                        generator.generate, asked[part], replace(settings, seed=seed)
                    )
                    for turn in zip(indices[part], asked[part], completions, strict=True):
                        running.create_task(attempt(*turn, last=number == rounds - 1))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
    return trajectories


async def try_answer(sandbox: Sandbox, task: Task, completion: Completion) -> Attempt:
    """Finds the program in an answer and runs it on the tests that may be shown."""
    program = extract_code(completion.text, task.entry_point)
    if program is None:
        passed, feedback = False, no_code_feedback()
    else:
        result = await run_public(sandbox, task, program)
        passed, feedback = result.passed, "" if result.passed else public_feedback(task, result)
    return Attempt(
        reply=completion.text,
        program=program,
        passed=passed,
        feedback=feedback,
        generated_tokens=len(completion.tokens),
        finish_reason=completion.finish_reason,
    )
