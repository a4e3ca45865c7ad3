"""Shares of slots that are busy over time."""

import pytest

from benchmarks.occupancy import Look, busy_shares


def test_what_is_seen_counts_for_as_long_as_it_holds():
    looks = [Look(0.0, 4), Look(3.0, 2), Look(4.0, 0)]
    assert busy_shares(looks, slots=4) == pytest.approx((3.5 / 4, 0.5))


def test_the_least_second_may_begin_and_end_between_looks():
    looks = [Look(0.0, 4), Look(1.25, 0), Look(1.75, 4), Look(3.0, 4)]
    assert busy_shares(looks, slots=4) == pytest.approx((2.5 / 3, 0.5))


def test_of_less_than_a_second_all_of_it_counts():
    assert busy_shares([Look(0.0, 1), Look(0.5, 4)], slots=4) == pytest.approx((0.25, 0.25))


def test_where_no_time_was_seen_nothing_was_busy():
    assert busy_shares([Look(0.0, 4)], slots=4) == (0, 0)
