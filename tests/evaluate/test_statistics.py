"""Confidence intervals, pass@k and tests of differences, beside published and others' values."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ocijax.evaluate.statistics import (
    bootstrap_interval,
    mcnemar_exact,
    pass_at_k,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(passed, total, low, high):
    assert wilson_interval(passed, total) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


def test_of_all_passed_the_upper_end_is_one():
    low, high = wilson_interval(164, 164)
    assert high == 1.0
    assert low == pytest.approx(1 - wilson_interval(0, 164)[1])


def test_without_trials_the_interval_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("samples", "passed", "k"), [(5, 2, 3), (6, 0, 2), (6, 5, 2), (4, 4, 4)])
def test_pass_at_k_is_the_share_of_draws_with_a_pass(samples, passed, k):
    outcomes = [number < passed for number in range(samples)]
    draws = list(combinations(outcomes, k))
    share = sum(map(any, draws)) / len(draws)
    assert pass_at_k(samples, passed, k) == pytest.approx(share)


def test_pass_at_k_is_evalplus_own():
    evalplus = pytest.importorskip("evalplus.eval", reason="the evalplus package is absent")
    passed = list(range(0, 201, 7))
    for k in (1, 10, 100):
        theirs = evalplus.estimate_pass_at_k(200, passed, k)
        assert [pass_at_k(200, count, k) for count in passed] == pytest.approx(theirs)


@pytest.mark.parametrize(("samples", "passed", "k"), [(3, 4, 1), (3, 1, 4), (3, 1, 0)])
def test_pass_at_k_of_no_draw_is_refused(samples, passed, k):
    with pytest.raises(ValueError, match=f"draw of {k} from {samples} samples"):
        pass_at_k(samples, passed, k)


@pytest.mark.parametrize(
    "values",
    [[1.0] * 120 + [0.0] * 44, [1.0] * 9 + [0.0] * 40 + [-1.0] * 3, [0.0, 0.2, 0.4, 1.0] * 20],
)
def test_bootstrap_interval_is_scipys(values):
    theirs = stats.bootstrap(
        (np.array(values),), np.mean, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    ours = bootstrap_interval(values)
    # Two resamples of ten thousand differ by chance, and means by a task's weight.
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1.5 / len(values))


def test_bootstrap_interval_is_the_same_each_time():
    values = [1.0, 0.0, 0.0, 1.0, 1.0]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1, resamples=50) != bootstrap_interval(
        values, seed=2, resamples=50
    )


def test_bootstrap_interval_of_nothing_is_everything():
    assert bootstrap_interval([]) == (-np.inf, np.inf)


@pytest.mark.parametrize("counts", [(0, 1), (3, 3), (5, 12), (59, 6), (0, 20), (812, 701)])
def test_mcnemar_is_scipys_binomial_test(counts):
    theirs = stats.binomtest(min(counts), sum(counts)).pvalue
    assert mcnemar_exact(*counts) == mcnemar_exact(*counts[::-1]) == pytest.approx(theirs)


def test_mcnemar_without_a_difference_is_one():
    assert mcnemar_exact(0, 0) == 1.0
