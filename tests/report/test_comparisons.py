"""Which runs are compared, and what they differ by."""

import pytest
from scipy import stats

from ocijax.report.comparisons import compare, comparisons
from ocijax.report.runs import find_runs
from tests.report.conftest import judged, write_run


def pairs(tmp_path):
    return [(one.suite, one.run.name, one.other.name) for one in comparisons(find_runs([tmp_path]))]


def two(tmp_path, ours, theirs):
    """Runs that passed those tasks whose letters are capitals."""
    for name, letters in (("a", ours), ("b", theirs)):
        rows = [judged(letter.lower(), letter.isupper()) for letter in letters]
        write_run(tmp_path / name, rows)
    return find_runs([tmp_path])


def test_difference_and_mcnemar_on_the_tasks_of_both(tmp_path):
    found = compare(*two(tmp_path, "ABCDEFgzy", "aBcdEFGz"), "adding")
    assert (found.tasks, found.only_run, found.only_other) == (8, 3, 1)
    assert found.difference == pytest.approx(2 / 8)
    assert found.interval[0] < found.difference < found.interval[1]
    # That of R's exact2x2::mcnemar.exact and statsmodels' mcnemar(exact=True): a binomial test.
    assert found.p == pytest.approx(stats.binomtest(1, 4).pvalue)


def test_runs_without_a_common_task_are_not_compared(tmp_path):
    assert compare(*two(tmp_path, "Ab", "cD"), "adding") is None


def test_several_samples_have_a_difference_and_no_p(tmp_path):
    rows = [judged("a", number < 1, sample=number) for number in range(2)]
    write_run(tmp_path / "a", rows, samples=2)
    write_run(tmp_path / "b", [judged("a", True)])
    found = compare(*find_runs([tmp_path]), "adding")
    assert (found.difference, found.only_run, found.p) == (-0.5, None, None)


def test_protocols_are_compared_with_single_and_resample(tmp_path):
    rows = [judged("a", True)]
    for protocol in ("execution", "human", "resample", "single"):
        write_run(tmp_path / protocol, rows, protocol=protocol)
    assert pairs(tmp_path) == [
        ("adding", "execution", "single"),
        ("adding", "execution", "resample"),
        ("adding", "human", "single"),
        ("adding", "human", "resample"),
        ("adding", "resample", "single"),
    ]


def test_checkpoints_are_compared_with_the_first(tmp_path):
    rows = [judged("a", True, True)]
    for model in ("m1", "m2", "m3"):
        write_run(tmp_path / model, rows, model=model)
    assert pairs(tmp_path) == [
        ("adding", "m2", "m1"),
        ("adding+", "m2", "m1"),
        ("adding", "m3", "m1"),
        ("adding+", "m3", "m1"),
    ]


@pytest.mark.parametrize(
    "other", [{"benchmark": "other"}, {"version": "w"}, {"model": "m2", "rounds": 3}]
)
def test_runs_of_other_tests_or_rounds_are_not_compared(tmp_path, other):
    rows = [judged("a", True)]
    write_run(tmp_path / "single", rows, protocol="execution")
    write_run(tmp_path / "execution", rows, **other)
    assert pairs(tmp_path) == []
