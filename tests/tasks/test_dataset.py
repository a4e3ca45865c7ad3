"""The quickstart's data: what is in it, and that what scores was never trained on."""

import asyncio
import dataclasses
from collections import Counter

import pytest

from ocijax.errors import InputError
from ocijax.judge.checker import check, run_public
from ocijax.refine.extract import extract_code
from ocijax.refine.feedback import failure_feedback
from ocijax.sandbox.sandbox import Sandbox
from ocijax.tasks.dataset import Sizes, build_dataset, shared_with_training
from ocijax.tasks.execution import run_programs
from ocijax.tasks.grammar import instructions

SIZES = Sizes(test=2, validation=1, train=4, first_answers=3)


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


@pytest.fixture(scope="module")
def dataset(sandbox):
    return asyncio.run(build_dataset(sandbox, SIZES, seed=0))


def test_every_held_out_instruction_comes_once_with_each_reading(dataset):
    for split, size in (("test", 2), ("validation", 1)):
        readings = Counter(task.instruction for task in dataset.tasks[split])
        assert len(readings) == size * len(instructions())
        for task in dataset.tasks[split]:
            assert readings[task.instruction] == task.metadata["readings"] >= 4


def test_nothing_scored_occurs_in_training(dataset):
    assert shared_with_training(dataset) == []


def test_what_is_shared_with_training_is_found(dataset):
    tasks = {**dataset.tasks, "test": dataset.tasks["test"] + dataset.tasks["train"][:2]}
    leaking = dataclasses.replace(dataset, tasks=tasks)
    assert shared_with_training(leaking) == [task.task_id for task in dataset.tasks["train"][:2]]


def test_task_ids_are_unique(dataset):
    identifiers = [task.task_id for tasks in dataset.tasks.values() for task in tasks]
    assert len(identifiers) == len(set(identifiers))


def test_checker_passes_the_solution_and_fails_every_other_reading(dataset, sandbox):
    groups = {}
    for task in dataset.tasks["test"]:
        groups.setdefault(task.instruction, []).append(task)

    async def judge(task, program):
        public, scored = (
            await run_public(sandbox, task, program),
            await check(sandbox, task, program),
        )
        return public.passed, scored.passed_base

    async def judge_all():
        for group in groups.values():
            for task in group:
                for other in group:
                    expected = (task is other, task is other)
                    assert await judge(task, other.metadata["solution"]) == expected

    asyncio.run(judge_all())


def test_conversations_end_with_the_solution_and_are_worded_by_the_loop(dataset, sandbox):
    tasks = {task.task_id: task for task in dataset.tasks["train"]}
    for conversation in dataset.conversations["train"][::5]:
        task = tasks[conversation.id.rpartition("/")[0]]
        messages = [message.content for message in conversation.messages]
        assert messages[0] == task.instruction
        assert extract_code(messages[-1]) == task.metadata["solution"]
        public = asyncio.run(run_public(sandbox, task, extract_code(messages[1])))
        if public.passed:
            assert len(messages) == 2
            assert conversation.metadata["passed"] == [True]
        else:
            assert messages[2] == failure_feedback("solve", *public.failure)
            assert task.metadata["reading"] in messages[2]
            assert conversation.metadata["passed"] == [False, True]


def test_first_answers_of_a_task_differ_and_only_some_are_right(dataset):
    first = {}
    for conversation in dataset.conversations["train"]:
        answers = first.setdefault(conversation.id.rpartition("/")[0], [])
        answers.append(conversation.messages[1].content)
    assert all(len(set(answers)) == SIZES.first_answers for answers in first.values())
    right = sum(len(one.messages) == 2 for one in dataset.conversations["train"])
    assert 0.1 < right / len(dataset.conversations["train"]) < 0.4


def test_seed_decides_everything(dataset, sandbox):
    assert asyncio.run(build_dataset(sandbox, SIZES, seed=0)) == dataset
    other = asyncio.run(build_dataset(sandbox, SIZES, seed=1))
    assert {t.instruction for t in other.tasks["test"]} != {
        t.instruction for t in dataset.tasks["test"]
    }


def test_a_program_that_fails_is_reported(sandbox):
    program = "def solve(numbers):\n    return numbers[9]\n"
    with pytest.raises(RuntimeError, match="IndexError"):
        asyncio.run(run_programs(sandbox, [program], [[1]]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"test": 0}, "test=0"), ({"first_answers": 0}, "first"), ({"first_answers": 5}, "1 to 4")],
)
def test_sizes_that_make_no_sense_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        Sizes(**sizes)
