"""Tests of a task: those to show and those to score, and what they can tell apart."""

import pytest

from ocijax.tasks.construction import HIDDEN_TESTS, PUBLIC_TESTS, build_tasks, input_pool
from ocijax.tasks.grammar import Instruction, instructions

INPUTS = input_pool(100, seed=0)


def outputs_of(instruction):
    """What the programs give; they are ours, and harmless."""
    outputs = {}
    for program in instruction.programs:
        namespace = {}
        exec(program, namespace)
        outputs[program] = [namespace["solve"](list(numbers)) for numbers in INPUTS]
    return outputs


@pytest.fixture(params=["bounds", "rounding", "order", "empty", "base", "separator", "repeats"])
def built(request):
    for instruction in instructions()[request.param][::7]:
        outputs = outputs_of(instruction)
        tasks = build_tasks(instruction, "name", INPUTS, outputs, seed=3)
        if tasks:
            return instruction, outputs, tasks
    raise AssertionError("no instruction of the family gives tasks")


def given(outputs, program, case):
    return outputs[program][INPUTS.index(case.arguments[0])]


def test_one_task_for_each_reading(built):
    instruction, _, tasks = built
    assert [task.metadata["reading"] for task in tasks] == list(instruction.readings)
    assert [task.metadata["solution"] for task in tasks] == list(instruction.programs)
    assert {task.instruction for task in tasks} == {instruction.text}
    assert len({task.task_id for task in tasks}) == len(tasks)
    assert {task.metadata["readings"] for task in tasks} == {len(tasks)}


def test_the_right_program_passes_all_tests(built):
    _, outputs, tasks = built
    for task in tasks:
        for case in (*task.public_tests, *task.suites["base"].cases):
            assert given(outputs, task.metadata["solution"], case) == case.expected


def test_every_wrong_reading_fails_a_public_and_a_hidden_test(built):
    instruction, outputs, tasks = built
    for task in tasks:
        for program in set(instruction.programs) - {task.metadata["solution"]}:
            for cases in (task.public_tests, task.suites["base"].cases):
                assert any(given(outputs, program, case) != case.expected for case in cases)


def test_hidden_inputs_are_enough_and_none_is_public(built):
    for task in built[2]:
        public = [case.arguments for case in task.public_tests]
        hidden = [case.arguments for case in task.suites["base"].cases]
        assert len(public) >= PUBLIC_TESTS
        assert len(hidden) >= HIDDEN_TESTS >= 10
        assert not [arguments for arguments in hidden if arguments in public]


def test_all_readings_of_an_instruction_are_tested_on_the_same_inputs(built):
    tasks = built[2]
    assert len({str([case.arguments for case in task.public_tests]) for task in tasks}) == 1


def test_failing_assertions_say_in_words_what_is_expected(built):
    for task in built[2]:
        assert {case.message for case in task.public_tests} == {task.metadata["reading"]}


def test_readings_that_no_input_tells_apart_give_no_task():
    same = "def solve(numbers):\n    return {}\n"
    programs = tuple(same.format(value) for value in ("1", "1.0", "2", "3"))
    instruction = Instruction("order", "Write solve(numbers).", ("a", "b", "c", "d"), programs)
    assert build_tasks(instruction, "name", INPUTS, outputs_of(instruction), seed=0) == []


def test_pool_has_the_empty_list_first_and_no_list_twice():
    assert INPUTS[0] == []
    assert len({tuple(numbers) for numbers in INPUTS}) == len(INPUTS) == 100
    assert input_pool(100, seed=0) == INPUTS != input_pool(100, seed=1)
