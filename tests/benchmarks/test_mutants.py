"""Programs with one fault each."""

import ast
import random

import pytest

from benchmarks.mutants import FAULTS, Original, make_mutants
from ocijax.judge.task import Suite, Task, TestCase

PROGRAM = '''\
def mean(numbers):
    """The mean of numbers."""
    total = 0.0
    count = len(numbers)
    if count == 0:
        return 0.0
    for number in numbers:
        total = total + number
    return total / count
'''


@pytest.fixture
def original():
    suites = {"base": Suite((TestCase(([1.0, 2.0],), 1.5),))}
    return Original(Task("test/0", "Do.", "mean", suites=suites), ast.parse(PROGRAM))


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_changes_the_program_and_only_one_breaks_its_syntax(original, fault):
    program = FAULTS[fault](original, random.Random(0))
    assert program != ast.unparse(ast.parse(PROGRAM))
    if fault == "syntax":
        with pytest.raises(SyntaxError):
            ast.parse(program)
    else:
        ast.parse(program)


def test_the_original_stays_as_it_was(original):
    before = ast.dump(original.tree)
    list(make_mutants([original], per_task=len(FAULTS), seed=0))
    assert ast.dump(original.tree) == before


def test_the_same_seed_gives_the_same_programs_of_as_many_kinds(original):
    made = list(make_mutants([original], per_task=5, seed=1))
    assert made == list(make_mutants([original], per_task=5, seed=1))
    assert len({row["fault"] for row in made}) == 5


def test_kinds_made_least_so_far_come_first(original):
    made = list(make_mutants([original] * 4, per_task=4, seed=2))
    assert len({row["fault"] for row in made}) == len(FAULTS) == 16
