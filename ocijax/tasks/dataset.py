"""The quickstart's data: tasks in three splits, and conversations that repair first answers."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.judge.task import Task
from ocijax.refine.extract import extract_code
from ocijax.sandbox.sandbox import Sandbox
from ocijax.tasks.construction import build_tasks, input_pool
from ocijax.tasks.conversations import repair_conversation
from ocijax.tasks.execution import run_programs
from ocijax.tasks.grammar import FEWEST_READINGS, Instruction, instructions

SPLITS = ("test", "validation", "train")
_INPUTS = 100

# Of most families nearly every instruction can be used, but of rounding one in four.
_CANDIDATES = 8


@dataclass(frozen=True)
class Sizes:
    """How many instructions of each family a split has, and conversations a task.

    Attributes:
      test: to score on. Each instruction gives one task for each of its k readings, so that an
        answer that does not depend on feedback is right for one in k.
      validation: to choose settings on.
      train: to train on; fewer where a family has no more.
      first_answers: conversations of one task, each with another first answer.
    """

    test: int = 12
    validation: int = 4
    train: int = 256
    first_answers: int = 2

    def __post_init__(self):
        """Raises InputError where a split would be empty, or there are too few first answers."""
        for name in SPLITS:
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: at least one instruction a family")
        if not 1 <= self.first_answers <= FEWEST_READINGS:
            raise InputError(
                f"first_answers={self.first_answers}: from 1 to {FEWEST_READINGS}, as many as"
                " every instruction has readings"
            )


@dataclass(frozen=True)
class Dataset:
    """Tasks of each of the `SPLITS`, and conversations about them."""

    tasks: Mapping[str, Sequence[Task]]
    conversations: Mapping[str, Sequence[Conversation]]


async def build_dataset(sandbox: Sandbox, sizes: Sizes, seed: int) -> Dataset:
    """Makes tasks and conversations, having run every program once over a pool of inputs.

    The split is by instruction, so that neither an instruction nor a right program of one split
    occurs in another (`shared_with_training`).

    Args:
      sandbox: where the programs run.
      sizes: how much to make.
      seed: of the inputs, the split and the first answers.
    """
    generator = random.Random(seed)
    inputs = input_pool(_INPUTS, seed)
    wanted = _CANDIDATES * sum(getattr(sizes, split) for split in SPLITS)
    families = [
        generator.sample(family, min(wanted, len(family))) for family in instructions().values()
    ]
    programs = [
        program for family in families for instruction in family for program in instruction.programs
    ]
    outputs = await run_programs(sandbox, programs, inputs)
    tasks: dict[str, list[Task]] = {split: [] for split in SPLITS}
    conversations: dict[str, list[Conversation]] = {split: [] for split in SPLITS}
    for family in families:
        groups = _task_groups(family, inputs, outputs, generator)
        for split in SPLITS:
            for instruction, group in itertools.islice(groups, getattr(sizes, split)):
                tasks[split] += group
                for task in group:
                    first_answers = generator.sample(instruction.programs, sizes.first_answers)
                    conversations[split] += [
                        repair_conversation(
                            task,
                            f"{task.task_id}/{number}",
                            program,
                            dict(zip(map(tuple, inputs), outputs[program], strict=True)),
                        )
                        for number, program in enumerate(first_answers)
                    ]
    return Dataset(tasks, conversations)


def shared_with_training(dataset: Dataset) -> list[str]:
    """Ids of tasks to be scored whose instruction or solution occurs in training; none should."""
    messages = [
        message
        for conversation in dataset.conversations["train"]
        for message in conversation.messages
    ]
    asked = {message.content for message in messages if message.role == "user"}
    answered = {
        extract_code(message.content) for message in messages if message.role == "assistant"
    }
    return [
        task.task_id
        for split in ("validation", "test")
        for task in dataset.tasks[split]
        if task.instruction in asked or task.metadata["solution"] in answered
    ]


def _task_groups(
    family: Sequence[Instruction],
    inputs: Sequence[list[int]],
    outputs: Mapping[str, Sequence[Any]],
    generator: random.Random,
) -> Iterator[tuple[Instruction, list[Task]]]:
    """Each instruction with its tasks; those that give none are passed over."""
    for number, instruction in enumerate(family):
        identifier = f"{instruction.family}/{number}"
        tasks = build_tasks(instruction, identifier, inputs, outputs, generator.getrandbits(32))
        if tasks:
            yield instruction, tasks
