"""Instructions: one open clause each, and programs that belong to one instruction only."""

import ast

import pytest

from ocijax.tasks.grammar import FEWEST_READINGS, instructions

FAMILIES = instructions()
ALL = [instruction for family in FAMILIES.values() for instruction in family]


@pytest.mark.parametrize("family", FAMILIES)
def test_family_leaves_one_thing_open_with_four_to_six_readings(family):
    for instruction in FAMILIES[family]:
        assert instruction.family == family
        assert 4 <= FEWEST_READINGS <= len(instruction.readings) <= 6
        assert len(set(instruction.readings)) == len(instruction.readings)
        assert all(instruction.readings)
        assert len(instruction.programs) == len(instruction.readings)


def test_no_instruction_says_which_reading_is_meant():
    for instruction in ALL:
        assert not any(reading in instruction.text for reading in instruction.readings)


def test_instructions_and_programs_are_all_different():
    programs = [program for instruction in ALL for program in instruction.programs]
    assert len(programs) == len(set(programs))
    assert len({instruction.text for instruction in ALL}) == len(ALL)


def test_programs_are_python():
    for instruction in ALL[::50]:
        for program in instruction.programs:
            ast.parse(program)


def test_a_reading_means_the_same_in_every_instruction():
    family = FAMILIES["separator"]
    for choice, reading in enumerate(family[0].readings):
        last_lines = {i.programs[choice].splitlines()[-1] for i in family}
        assert {i.readings[choice] for i in family} == {reading}
        assert len(last_lines) == 1
