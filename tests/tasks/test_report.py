"""What the quickstart says at its end."""

import dataclasses

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.evaluate.summary import SummaryRow
from ocijax.judge.task import Task
from ocijax.tasks.report import choose_repaired, describe_gains, guessing_ceiling, to_markdown


def task(identifier, family="order", readings=4):
    metadata = {"family": family, "readings": readings}
    return Task(identifier, "Write solve(numbers).", "solve", metadata=metadata)


def told(identifier, *passed):
    metadata = {"task_id": identifier, "passed": list(passed)}
    return Conversation(f"{identifier}#0", (Message("user", "…"),), metadata=metadata)


def test_ceiling_is_the_mean_of_one_in_k():
    assert guessing_ceiling([task("a", readings=4), task("b", readings=5)]) == pytest.approx(0.225)


def test_gains_are_in_points_over_every_other_protocol():
    row = SummaryRow("quickstart-test", "execution", 400, 360, 0.9, 0.87, 0.93, 700, 9)
    rates = {"single": 0.2, "execution": 0.9, "resample": 0.955}
    rows = {name: dataclasses.replace(row, pass_rate=rate) for name, rate in rates.items()}
    assert describe_gains(rows) == (
        "Reading the execution gains +70.0 points over single, -5.5 points over resample."
    )


def test_repaired_are_those_that_failed_first_and_passed_at_last():
    told_of = [told("a", True), told("b", False, False), told("c", False, True)]
    tasks = [task(identifier) for identifier in "abc"]
    assert choose_repaired(told_of, tasks, 3) == told_of[2:]


def test_repaired_are_of_different_families_first():
    told_of = [told(identifier, False, True) for identifier in ("a", "b", "c", "d")]
    tasks = [task("a", "order"), task("b", "order"), task("c", "base"), task("d", "empty")]
    assert choose_repaired(told_of, tasks, 3) == [told_of[0], told_of[2], told_of[3]]
    assert choose_repaired(told_of[:2], tasks, 3) == told_of[:2]


def test_markdown_quotes_the_user_and_keeps_code_as_it_is():
    messages = (Message("user", "Execution result:\nNone"), Message("assistant", "```\nx = 1\n```"))
    assert to_markdown(Conversation("a#0", messages)) == (
        "## a#0\n\n> Execution result:  \n> None  \n\n```\nx = 1\n```\n"
    )
