"""The loop: answer, run, read what happened, answer again; all unfinished tasks side by side."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ocijax.conversation import Conversation, Message
from ocijax.judge.checker import PublicResult, run_public
from ocijax.judge.task import Task
from ocijax.refine.extract import extract_code
from ocijax.refine.feedback import failure_feedback, load_feedback, no_code_feedback
from ocijax.sample.settings import Completion, Generator, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

Reword = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""``(ids of the tasks that failed, their feedback) -> what each is shown``."""


@dataclass(frozen=True)
class Attempt:
    """One answer and what became of it.

    Attributes:
      program: the code found in the answer, or ``None``.
      passed: whether it passed the tests that may be shown.
      feedback: what its execution says; empty where it passed.
      generated_tokens: of the answer.
    """

    program: str | None
    passed: bool
    feedback: str
    generated_tokens: int


@dataclass(frozen=True)
class Trajectory:
    """All that happened to one task.

    Attributes:
      task: what was asked.
      conversation: every turn, the last answer at its end; in resampling, that of the last attempt.
      attempts: in order.
    """

    task: Task
    conversation: Conversation
    attempts: tuple[Attempt, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the last attempt passed the tests that may be shown."""
        return bool(self.attempts) and self.attempts[-1].passed

    @property
    def program(self) -> str:
        """The program to score: the last attempt's that has one; empty where none has."""
        programs = [attempt.program for attempt in self.attempts if attempt.program is not None]
        return programs[-1] if programs else ""


def begin(task: Task) -> Trajectory:
    """The trajectory before the first answer: the task's instruction as a user turn."""
    return Trajectory(task, Conversation(task.task_id, (Message("user", task.instruction),)))


async def refine(
    generator: Generator,
    sandbox: Sandbox,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    rounds: int,
    reword: Reword = lambda identifiers, feedback: feedback,
) -> list[Trajectory]:
    """Answers each task, shows it what its program did, and lets it answer again.

    A task ends when its program passes the tests that may be shown, or after ``rounds`` answers.

    Args:
      generator: answers.
      sandbox: runs the programs.
      tasks: what to solve.
      settings: how to answer; each round draws anew.
      rounds: most answers for a task.
      reword: changes what is shown, see `Reword`.

    Returns:
      One trajectory for each task, in order.
    """
    trajectories = [begin(task) for task in tasks]
    for number in range(rounds):
        open_ = [index for index, one in enumerate(trajectories) if not one.passed]
        if not open_:
            break
        if number:
            shown = reword(
                [trajectories[index].task.task_id for index in open_],
                [trajectories[index].attempts[-1].feedback for index in open_],
            )
            for index, feedback in zip(open_, shown, strict=True):
                one = trajectories[index]
                conversation = one.conversation.append("user", feedback)
                trajectories[index] = replace(one, conversation=conversation)
        answered = await _answer(
            generator,
            sandbox,
            [trajectories[index] for index in open_],
            round_settings(settings, number),
        )
        for index, one in zip(open_, answered, strict=True):
            trajectories[index] = one
    return trajectories


async def resample(
    generator: Generator,
    sandbox: Sandbox,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    attempts: int,
) -> list[Trajectory]:
    """Answers each task anew, from the instruction alone, until a program passes.

    The control of `refine`: as many answers at most, and the same tests end it.
    """
    trajectories = [begin(task) for task in tasks]
    for number in range(attempts):
        open_ = [index for index, one in enumerate(trajectories) if not one.passed]
        if not open_:
            break
        fresh = [
            replace(begin(trajectories[index].task), attempts=trajectories[index].attempts)
            for index in open_
        ]
        answered = await _answer(generator, sandbox, fresh, round_settings(settings, number))
        for index, one in zip(open_, answered, strict=True):
            trajectories[index] = one
    return trajectories


def round_settings(settings: SamplingSettings, number: int) -> SamplingSettings:
    """The settings of a round: the same with a seed of its own; the first keeps its seed."""
    return replace(settings, seed=settings.seed + 1_000_003 * number)


async def _answer(
    generator: Generator,
    sandbox: Sandbox,
    trajectories: Sequence[Trajectory],
    settings: SamplingSettings,
) -> list[Trajectory]:
    """Each with one more answer, run on the tests that may be shown."""
    completions = generator.generate([one.conversation for one in trajectories], settings)
    attempts = await asyncio.gather(
        *(
            _attempt(sandbox, one.task, completion)
            for one, completion in zip(trajectories, completions, strict=True)
        )
    )
    return [
        replace(
            one,
            conversation=one.conversation.append("assistant", completion.text),
            attempts=(*one.attempts, attempt),
        )
        for one, completion, attempt in zip(trajectories, completions, attempts, strict=True)
    ]


async def _attempt(sandbox: Sandbox, task: Task, completion: Completion) -> Attempt:
    program = extract_code(completion.text, task.entry_point)
    count = len(completion.tokens)
    if program is None:
        return Attempt(None, False, no_code_feedback(), count)
    result = await run_public(sandbox, task, program)
    return Attempt(program, result.passed, public_feedback(task, result), count)


def public_feedback(task: Task, result: PublicResult) -> str:
    """What a program's run on the tests that may be shown says; empty where it passed."""
    if result.passed:
        return ""
    if result.failure is None:
        return load_feedback(result.load)
    return failure_feedback(task.entry_point, *result.failure)
