"""Results in numbers."""

import pytest

from ocijax.evaluate.statistics import wilson_interval
from ocijax.evaluate.summary import summarize, table, to_json


def row(task_id: str, base: bool, plus: bool | None = None, sample: int = 0, rounds: int = 1):
    return {
        "task_id": task_id,
        "sample": sample,
        "passed_base": base,
        "passed_plus": plus,
        "rounds": rounds,
        "generated_tokens": 10 * rounds,
    }


ROWS = [row("a", True, True), row("b", True, False, rounds=2), row("c", False, False, rounds=2)]


def test_base_and_plus_have_a_row_each():
    low, high = wilson_interval(2, 3)
    plus_low, plus_high = wilson_interval(1, 3)
    assert to_json(summarize("humaneval", "humaneval+", "execution", ROWS)) == [
        {
            "benchmark": "humaneval",
            "protocol": "execution",
            "tasks": 3,
            "passed": 2,
            "pass_rate": pytest.approx(2 / 3),
            "ci_low": low,
            "ci_high": high,
            "attempts": 5,
            "generated_tokens": 50,
        },
        {
            "benchmark": "humaneval+",
            "protocol": "execution",
            "tasks": 3,
            "passed": 1,
            "pass_rate": pytest.approx(1 / 3),
            "ci_low": plus_low,
            "ci_high": plus_high,
            "attempts": 5,
            "generated_tokens": 50,
        },
    ]


def test_without_plus_tests_there_is_one_row():
    [summary] = summarize("tasks", None, "single", [row("a", True)])
    assert (summary.benchmark, summary.passed) == ("tasks", 1)


def test_tasks_without_plus_tests_do_not_count_for_plus():
    [_, plus] = summarize("tasks", "tasks+", "single", [row("a", True, True), row("b", True)])
    assert (plus.tasks, plus.passed) == (1, 1)


def test_several_samples_of_a_task_are_one_task():
    samples = [row("a", True), row("a", False, sample=1), row("b", True), row("b", True, sample=1)]
    [summary] = summarize("tasks", None, "single", samples)
    assert (summary.tasks, summary.passed, summary.pass_rate) == (2, 1.5, 0.75)
    assert (summary.ci_low, summary.ci_high) == wilson_interval(1.5, 2)
    assert summary.attempts == 4


def test_no_results_pass_nothing():
    [summary] = summarize("tasks", None, "single", [])
    assert (summary.tasks, summary.passed, summary.pass_rate) == (0, 0, 0.0)


def test_the_table_has_a_line_a_row():
    assert table(summarize("humaneval", "humaneval+", "execution", ROWS)) == (
        "benchmark   protocol   passed   rate  95 % interval  attempts  tokens\n"
        "humaneval   execution     2/3  66.7%  20.8% - 93.9%         5      50\n"
        "humaneval+  execution     1/3  33.3%   6.1% - 79.2%         5      50"
    )
