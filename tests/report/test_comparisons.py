"""Which runs are compared, and what they differ by."""

import pytest
from scipy import stats

from ocijax.report.comparisons import compare, comparisons
from ocijax.report.runs import find_runs
from tests.report.conftest import judged, write_run


def all_of(tmp_path):
    return comparisons(find_runs([tmp_path]))


def pairs(tmp_path):
    return [(one.suite, one.run.name, one.other.name) for one in all_of(tmp_path)]


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


GREEDY = {"temperature": 0.0, "seed": 0, "max_new_tokens": 64}
DRAWN = {"temperature": 0.8, "seed": 3, "max_new_tokens": 64}
OTHERWISE = [
    {"prompts": {"name": "paper", "sha256": "p"}},
    {"sanitizer": "paper"},
    {"evaluator": "evalplus-0.3.1"},
]


@pytest.mark.parametrize("other", [{"benchmark": "other"}, {"version": "w"}, {"model": "m2"}])
def test_runs_of_other_tests_are_not_compared(tmp_path, other):
    rows = [judged("a", True)]
    write_run(tmp_path / "single", rows, protocol="single", rounds=1)
    write_run(tmp_path / "execution", rows, **other)
    assert pairs(tmp_path) == []


@pytest.mark.parametrize(
    "other",
    [
        *OTHERWISE,
        {"rounds": 3},
        {"sampling": {"temperature": 0.9}},
        {"oracle_tests": "base"},
        {"adviser": "another"},
    ],
)
def test_checkpoints_are_compared_only_where_all_else_is_the_same(tmp_path, other):
    rows = [judged("a", True)]
    write_run(tmp_path / "m1", rows, model="m1")
    write_run(tmp_path / "m2", rows, model="m2", **other)
    assert pairs(tmp_path) == []


def test_protocols_are_compared_with_as_many_resampled_answers(tmp_path):
    rows = [judged("a", True)]
    write_run(tmp_path / "single", rows, protocol="single", rounds=1)
    for rounds in (2, 3):
        for protocol in ("execution", "resample", "scrambled"):
            write_run(tmp_path / f"{protocol}-{rounds}", rows, protocol=protocol, rounds=rounds)
    found = pairs(tmp_path)
    assert {(run, other) for _, run, other in found if other != "single"} == {
        ("execution-2", "resample-2"),
        ("execution-3", "resample-3"),
        ("scrambled-2", "resample-2"),
        ("scrambled-3", "resample-3"),
    }
    assert len([one for one in found if one[2] == "single"]) == 6


@pytest.mark.parametrize("other", [*OTHERWISE, {"sampling": DRAWN}])
def test_protocols_are_compared_only_where_all_else_is_the_same(tmp_path, other):
    rows = [judged("a", True)]
    write_run(tmp_path / "single", rows, protocol="single", rounds=1, sampling=GREEDY)
    write_run(tmp_path / "execution", rows, **{"sampling": GREEDY} | other)
    assert pairs(tmp_path) == []


def test_what_resamples_may_be_drawn_where_the_other_is_greedy_and_it_is_said(tmp_path):
    rows = [judged("a", True)]
    for name, sampling in (("execution", GREEDY), ("resample", DRAWN), ("single", GREEDY)):
        write_run(tmp_path / name, rows, protocol=name, sampling=sampling)
    found = {(one.run.name, one.other.name): one.sampling for one in all_of(tmp_path)}
    assert found == {
        ("execution", "single"): "",
        ("execution", "resample"): "temperature 0 against 0.8",
        ("resample", "single"): "temperature 0.8 against 0",
    }


@pytest.mark.parametrize("other", [{"temperature": 0.6}, {"max_new_tokens": 128}])
def test_sampling_may_differ_in_no_other_way(tmp_path, other):
    rows = [judged("a", True)]
    write_run(tmp_path / "execution", rows, sampling=GREEDY | other)
    write_run(tmp_path / "resample", rows, protocol="resample", sampling=DRAWN)
    assert pairs(tmp_path) == []
