"""The loop: answer, run, read what happened, answer again; many tasks side by side."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ocijax.conversation import Conversation, Message
from ocijax.judge.checker import run_public
from ocijax.judge.task import Task
from ocijax.refine.extract import extract_code
from ocijax.refine.feedback import no_code_feedback, public_feedback
from ocijax.refine.sanitize import Sanitizer
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox


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


Ask = Callable[[Sequence[Trajectory], random.Random], Sequence[Conversation]]
"""``(unfinished trajectories, source of chance) -> what each goes on with``, a user turn last."""


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


def begin(task: Task, sample: int = 0) -> Trajectory:
    """The trajectory before the first answer: the task's instruction as a user turn."""
    conversation = Conversation(task.task_id, (Message("user", task.instruction),))
    return Trajectory(task, conversation, sample=sample)


def _show_feedback(unfinished: Sequence[Trajectory], chance: random.Random) -> list[Conversation]:
    del chance
    return [one.conversation.append("user", one.attempts[-1].feedback) for one in unfinished]


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
    extract: Sanitizer = extract_code,
    at_once: int = 64,
    finish: Callable[[Trajectory], Awaitable[None]] | None = None,
    recall: Callable[[Trajectory, Completion], Attempt | None] = lambda one, completion: None,
) -> list[Trajectory]:
    """Answers each task, shows it what its program did, and lets it answer again.

    A task ends when its program passes the tests that may be shown, or after ``rounds`` answers.
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
      extract: finds the program in an answer.
      at_once: tasks under way; no more than a sampler has slots, so that each keeps its own.
      finish: awaited with each trajectory as it ends.
      recall: asked for an attempt before it is run: one that is known already is not run again.

    Returns:
      The trajectories at their ends, in order.
    """
    trajectories = list(trajectories)
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="refine")
    under_way = asyncio.Semaphore(at_once)

    async def answer(before: Trajectory, asked: Conversation, number: int) -> Trajectory:
        seeded = replace(settings, seed=_seed(settings.seed, before, number))
        [completion] = await asyncio.get_running_loop().run_in_executor(
            threads, generator.generate, [asked], seeded
        )
        made = recall(before, completion) or await try_answer(
            sandbox, before.task, completion, extract
        )
        return replace(
            before,
            conversation=asked.append("assistant", completion.text),
            attempts=(*before.attempts, made),
        )

    async def go_on(index: int, asked: Conversation, numbers: range) -> None:
        async with under_way:
            for number in numbers:
                if number > numbers.start:
                    [asked] = ask_again.ask([trajectories[index]], _chance(settings, number))
                trajectories[index] = await answer(trajectories[index], asked, number)
                if trajectories[index].passed or number == rounds - 1:
                    generator.forget(trajectories[index].conversation)
                    break
        if finish is not None and (trajectories[index].passed or numbers.stop == rounds):
            await finish(trajectories[index])

    together = ask_again.together
    for numbers in [range(one, one + 1) for one in range(rounds)] if together else [range(rounds)]:
        unfinished = [index for index, one in enumerate(trajectories) if not one.passed]
        asked = [trajectories[index].conversation for index in unfinished]
        if numbers.start:
            chance = _chance(settings, numbers.start)
            asked = ask_again.ask([trajectories[index] for index in unfinished], chance)
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


async def try_answer(
    sandbox: Sandbox, task: Task, completion: Completion, extract: Sanitizer = extract_code
) -> Attempt:
    """Finds the program in an answer and runs it on the tests that may be shown."""
    program = extract(completion.text, task.entry_point)
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
