"""Confidence intervals."""

import pytest

from ocijax.evaluate.statistics import wilson_interval


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
