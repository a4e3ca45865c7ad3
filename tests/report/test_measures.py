"""Scores, scores by round, errors, repairs and cost of a run."""

import pytest

from ocijax.report.measures import cost, errors_by_round, repairs, rounds, score
from ocijax.report.runs import find_runs
from tests.report.conftest import judged, row, write_run


@pytest.fixture
def run(four):
    [run] = find_runs([four])
    return run


def only(tmp_path, rows, **settings):
    [run] = find_runs([write_run(tmp_path / "run", rows, **settings)])
    return run


def test_a_score_for_base_and_one_for_plus(run):
    assert run.suites == {"adding": "passed_base", "adding+": "passed_plus"}
    base, plus = (score(run, field) for field in run.suites.values())
    assert (base.passed, base.tasks, base.rate) == (3, 4, 0.75)
    assert (plus.passed, plus.rate) == (2, 0.5)
    assert base.bootstrap[0] <= base.rate <= base.bootstrap[1]


def test_of_several_samples_the_share_counts(tmp_path):
    rows = [judged("a", number < 2, sample=number) for number in range(4)]
    rows += [judged("b", number < 1, sample=number) for number in range(4)]
    found = score(only(tmp_path, rows, samples=4), "passed_base", [1, 2, 4, 5])
    assert found.rate == pytest.approx(3 / 8)
    assert found.pass_at[1][0] == pytest.approx(3 / 8)
    # Of the six pairs of samples of a, one has no pass; of b's, three.
    assert found.pass_at[2][0] == pytest.approx((5 / 6 + 3 / 6) / 2)
    assert found.pass_at[4][0] == 1
    assert 5 not in found.pass_at


def test_pass_at_k_needs_k_samples_of_every_task(tmp_path):
    rows = [judged("a", True), judged("a", False, sample=1), judged("b", True)]
    assert list(score(only(tmp_path, rows), "passed_base", [1, 2]).pass_at) == [1]


def test_tasks_without_plus_tests_do_not_count_there(tmp_path):
    run = only(tmp_path, [judged("a", True, True), judged("b", True)])
    assert score(run, "passed_plus").tasks == 1


def test_rounds_tell_what_was_solved_by_then(run):
    first, second = rounds(run, "passed_base")
    assert (first.answers, second.answers) == (4, 3)
    assert (first.solved, second.solved) == (0.25, 0.75)
    assert (first.passed_shown, second.passed_shown) == (0.25, 0.75)
    assert [one.solved for one in rounds(run, "passed_plus")] == [0.25, 0.5]


def test_after_the_last_round_stands_the_score(run):
    for field in run.suites.values():
        last, found = rounds(run, field)[-1], score(run, field)
        assert (last.solved, last.interval) == (found.rate, found.wilson)


def test_a_last_answer_that_fails_a_public_test_may_be_right(tmp_path):
    run = only(tmp_path, [row("a", "wrong wrong", True)])
    assert [one.solved for one in rounds(run, "passed_base")] == [0.0, 1.0]


def test_judged_samples_have_no_rounds(tmp_path):
    run = only(tmp_path, [judged("a", True)])
    assert rounds(run, "passed_base") == []
    assert errors_by_round(run) == []


def test_errors_of_each_round(run):
    first, second = errors_by_round(run)
    assert first == {None: 1, "wrong output": 1, "syntax": 1, "time-out": 1}
    assert second == {None: 2, "wrong output": 1}


def test_repairs_of_each_kind(run):
    found = {one.kind: (one.failed, one.answered, one.repaired, one.solved) for one in repairs(run)}
    assert found == {
        "syntax": (1, 1, 0, 0),
        "wrong output": (2, 1, 1, 1),
        "time-out": (1, 1, 1, 0),  # what it became passed public and base tests, not the plus tests
    }


def test_cost_of_a_solved_task(tmp_path):
    rows = [row("a", "pass", True, True), row("b", "wrong pass", True, False)]
    run = only(tmp_path, rows, answers=[{"began": 5.0, "ended": 9.0}])
    base, plus = (cost(run, field) for field in run.suites.values())
    assert (base.answers, base.tokens, base.solved) == (3, 30, 2)
    assert (base.tokens_per_solved, base.seconds_per_solved) == (15, 2.0)
    assert (plus.tokens_per_solved, plus.seconds_per_solved) == (30, 4.0)


def test_where_nothing_is_solved_there_is_no_cost_of_it(tmp_path):
    found = cost(only(tmp_path, [row("a", "wrong wrong", False)]), "passed_base")
    assert (found.tokens_per_solved, found.seconds_per_solved) == (None, None)
