"""Tasks from instructions: tests chosen so that every wrong reading fails some of them."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ocijax.judge.task import Suite, Task, TestCase
from ocijax.tasks.grammar import ENTRY_POINT, Instruction

PUBLIC_TESTS = 3
HIDDEN_TESTS = 12


def input_pool(size: int, seed: int) -> list[list[int]]:
    """Different lists of numbers, shortest first, the empty one among them."""
    generator = random.Random(seed)
    pool: set[tuple[int, ...]] = {()}
    while len(pool) < size:
        # Few different values in one list, so that some repeat.
        values = [generator.randint(-15, 25) for _ in range(generator.randint(1, 6))]
        pool.add(tuple(generator.choice(values) for _ in range(generator.randint(1, 6))))
    return [list(numbers) for numbers in sorted(pool, key=lambda numbers: (len(numbers), numbers))]


def build_tasks(
    instruction: Instruction,
    identifier: str,
    inputs: Sequence[list[int]],
    outputs: Mapping[str, Sequence[Any]],
    seed: int,
) -> list[Task]:
    """One task for each reading of an instruction; all test the same inputs.

    Args:
      instruction: what is asked.
      identifier: what the ids of the tasks begin with.
      inputs: what the programs were run on; the first ones are preferred for public tests.
      outputs: what each of the instruction's programs gave for each input.
      seed: which inputs fill up the tests beyond those that tell the readings apart.

    Returns:
      The tasks, in the order of the readings, with at least `PUBLIC_TESTS` tests to show and
      `HIDDEN_TESTS` others to score; of both, every wrong reading fails one. None at all where
      the inputs cannot tell two readings apart.
    """
    results = [
        [outputs[program][index] for program in instruction.programs]
        for index in range(len(inputs))
    ]
    public = _telling_apart(results, range(len(inputs)))
    rest = [index for index in range(len(inputs)) if index not in public]
    random.Random(seed).shuffle(rest)
    missing = max(0, PUBLIC_TESTS - len(public))
    public, rest = public + rest[:missing], rest[missing:]
    hidden = _telling_apart(results, rest)
    if not public or not hidden:
        return []
    filling = [index for index in rest if index not in hidden]
    hidden += filling[: max(0, HIDDEN_TESTS - len(hidden))]

    def task(choice: int) -> Task:
        reading = instruction.readings[choice]

        def cases(indices: Sequence[int]) -> tuple[TestCase, ...]:
            return tuple(
                TestCase((inputs[index],), results[index][choice], reading) for index in indices
            )

        return Task(
            task_id=f"{identifier}/{choice}",
            instruction=instruction.text,
            entry_point=ENTRY_POINT,
            public_tests=cases(public),
            suites={"base": Suite(cases(hidden))},
            metadata={
                "family": instruction.family,
                "reading": reading,
                "readings": len(instruction.readings),
                "solution": instruction.programs[choice],
            },
        )

    return [task(choice) for choice in range(len(instruction.readings))]


def _telling_apart(results: Sequence[Sequence[Any]], indices: Sequence[int]) -> list[int]:
    """Few indices, early ones preferred, at which any two readings differ somewhere.

    Args:
      results: what each reading gives, by index.
      indices: those to choose from.

    Returns:
      The chosen ones; none where there is no such choice.
    """
    pairs = set(itertools.combinations(range(len(results[0])), 2))
    chosen = []
    while pairs:
        told = [
            {(one, other) for one, other in pairs if results[index][one] != results[index][other]}
            for index in indices
        ]
        best = max(range(len(indices)), key=lambda place: len(told[place]))
        if not told[best]:
            return []
        chosen.append(indices[best])
        pairs -= told[best]
    return chosen
