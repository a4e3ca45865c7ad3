"""The loop: answer, run, read what happened, answer again; many tasks side by side."""

import asyncio
import hashlib
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ocijax.conversation import Conversation
from ocijax.judge.task import Task
from ocijax.prompts.prompts import Prompts, turns
from ocijax.refine.attempt import Attempt, try_answer
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Trajectory:
    """All that happened to one task.

    Attributes:
      task: what was asked.
      opening: what the model sees before its first answer.
      conversation: what the model saw and said last; every turn, unless it was asked afresh.
      attempts: every answer, in order.
      sample: number among the task's independent trajectories.
    """

    task: Task
    opening: Conversation
    conversation: Conversation
    attempts: tuple[Attempt, ...] = ()
    sample: int = 0

    @property
    def passed(self) -> bool:
        """Whether the last attempt passed the tests that end it."""
        return bool(self.attempts) and self.attempts[-1].passed

    @property
    def program(self) -> str:
        """The program to score: that of the last attempt that has one; empty where none has."""
        programs = [attempt.program for attempt in self.attempts if attempt.program is not None]
        return programs[-1] if programs else ""


Ask = Callable[[Sequence[Trajectory], random.Random], Sequence[str | None]]
"""``(unfinished trajectories, source of chance) -> what each is told``; ``None``: asked afresh.

It is called in a thread of its own, and may take its time.
"""


@dataclass(frozen=True)
class AskAgain:
    """How unfinished tasks are asked again.

    Attributes:
      ask: gives what each sees.
      together: whether it must be given all that are unfinished after a round, so that each waits
        for the others; otherwise it is given one.
    """

    ask: Ask
    together: bool = False


def begin(
    task: Task, sample: int = 0, prompts: Prompts | None = None, benchmark: str = ""
) -> Trajectory:
    """The trajectory before the first answer.

    Args:
      task: what is asked.
      sample: number among the task's trajectories.
      prompts: how it is asked; by default the task's instruction is the user turn.
      benchmark: which first turn of the prompts it has.
    """
    opening = (prompts or turns()).begin(task, benchmark)
    return Trajectory(task, opening, opening, sample=sample)


def _show_feedback(unfinished: Sequence[Trajectory], chance: random.Random) -> list[str]:
    del chance
    return [one.attempts[-1].feedback for one in unfinished]


SHOW_FEEDBACK = AskAgain(_show_feedback)
"""Each task is told what its last program did."""


async def refine(
    generator: Generator,
    sandbox: Sandbox,
    trajectories: Sequence[Trajectory],
    settings: SamplingSettings,
    rounds: int,
    *,
    ask_again: AskAgain = SHOW_FEEDBACK,
    attempt: Callable[[Sandbox, Task, Completion], Awaitable[Attempt]] = try_answer,
    prompts: Prompts | None = None,
    tokens_left: Callable[[Trajectory], float] = lambda one: math.inf,
    at_once: int = 64,
    finish: Callable[[Trajectory], Awaitable[None]] | None = None,
    recall: Callable[[Trajectory, Completion], Attempt | None] = lambda one, completion: None,
) -> list[Trajectory]:
    """Answers each task, shows it what its program did, and lets it answer again.

    A task ends when its program passes the tests that may be shown, or after ``rounds`` answers,
    or when no tokens are left to it.
    Each goes on as soon as it can, whatever the others do, and another one begins only when one has
    ended: so a sampler still has a conversation in its slot when it goes on, and has others to
    answer while programs run.

    Example::

      [trajectory] = asyncio.run(refine(sampler, Sandbox(), [begin(task)], settings, rounds=2))

    Args:
      generator: answers; it is asked for one answer a call, by as many threads as tasks are under
        way. What it is asked depends on nothing but the task's own answers before, or with
        ``ask_again.together`` on all tasks' answers before, so that a repeated run makes the same
        calls.
      sandbox: runs the programs.
      trajectories: where to begin, see `begin`.
      settings: how to answer; each answer draws from a seed of its own.
      rounds: most answers for a task.
      ask_again: what the next round sees.
      attempt: runs the program of an answer on the tests that end a task, see `try_answer`.
      prompts: how feedback becomes part of the conversation; by default as a user turn.
      tokens_left: most that may be generated for a task from now on.
      at_once: tasks under way; no more than a sampler has slots, so that each keeps its own.
      finish: awaited with each trajectory as it ends.
      recall: asked for an attempt before it is run: one that is known already is not run again.

    Returns:
      The trajectories at their ends, in order.
    """
    trajectories, prompts = list(trajectories), prompts or turns()
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="refine")
    under_way = asyncio.Semaphore(at_once)

    async def in_thread(work: Callable, *arguments):
        return await asyncio.get_running_loop().run_in_executor(threads, work, *arguments)

    async def ask(unfinished: Sequence[Trajectory], number: int) -> list[Conversation]:
        told = await in_thread(ask_again.ask, unfinished, _chance(settings, number))
        return [
            one.opening if text is None else prompts.go_on(one.conversation, text)
            for one, text in zip(unfinished, told, strict=True)
        ]

    async def answer(before: Trajectory, asked: Conversation, number: int) -> Trajectory:
        most = min(settings.max_new_tokens, tokens_left(before))
        seed = _seed(settings.seed, before, number)
        seeded = replace(settings, seed=seed, max_new_tokens=int(most))
        [completion] = await in_thread(generator.generate, [asked], seeded)
        made = recall(before, completion) or await attempt(sandbox, before.task, completion)
        made = replace(made, afresh=bool(before.attempts) and asked is before.opening)
        return replace(
            before,
            conversation=asked.append("assistant", completion.text),
            attempts=(*before.attempts, made),
        )

    async def go_on(index: int, asked: Conversation, numbers: range) -> None:
        async with under_way:
            for number in numbers:
                if number > numbers.start:
                    [asked] = await ask([trajectories[index]], number)
                trajectories[index] = await answer(trajectories[index], asked, number)
                one = trajectories[index]
                if one.passed or number == rounds - 1 or tokens_left(one) < 1:
                    generator.forget(one.conversation)
                    break
        if finish is not None and (one.passed or numbers.stop == rounds):
            await finish(one)

    together = ask_again.together
    for numbers in [range(one, one + 1) for one in range(rounds)] if together else [range(rounds)]:
        unfinished = [index for index, one in enumerate(trajectories) if not one.passed]
        asked = [trajectories[index].conversation for index in unfinished]
        if numbers.start:
            asked = await ask([trajectories[index] for index in unfinished], numbers.start)
        try:
            async with asyncio.TaskGroup() as running:
                for index, conversation in zip(unfinished, asked, strict=True):
                    running.create_task(go_on(index, conversation, numbers))
        except ExceptionGroup as failures:
            # Answers under way are waited for: who records them has them when asked again.
            threads.shutdown(cancel_futures=True)
            raise failures.exceptions[0] from failures
    threads.shutdown()
    return trajectories


def _seed(seed: int, trajectory: Trajectory, number: int) -> int:
    """Of one answer: neither what else is asked nor in which order makes a difference to it."""
    name = f"{seed}/{trajectory.task.task_id}/{trajectory.sample}/{number}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def _chance(settings: SamplingSettings, number: int) -> random.Random:
    return random.Random(f"{settings.seed}/{number}")
