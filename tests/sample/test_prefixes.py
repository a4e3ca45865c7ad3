"""How many first tokens sequences have in common with another."""

import numpy as np

from ocijax.sample.prefixes import Prefixes


def tokens(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def test_each_is_compared_up_to_the_first_token_that_differs():
    prefixes = Prefixes(4)
    prefixes[0] = tokens(5, 6, 7)
    prefixes[1] = tokens(5, 6, 8, 9)
    prefixes[2] = tokens(6, 5)
    assert prefixes.shared(tokens(5, 6, 7, 4)).tolist() == [3, 2, 0, 0]
    assert prefixes.shared(tokens(5)).tolist() == [1, 1, 0, 0]


def test_empty_ones_have_nothing_in_common():
    assert Prefixes(2).shared(tokens(5, 6)).tolist() == [0, 0]
    assert Prefixes(2).shared(tokens()).tolist() == [0, 0]


def test_nothing_is_left_of_a_longer_one_that_stood_there():
    prefixes = Prefixes(1)
    prefixes[0] = tokens(5, 6, 7)
    prefixes[0] = tokens(5)
    assert prefixes.lengths.tolist() == [1]
    assert prefixes.shared(tokens(5, 6, 7)).tolist() == [1]


def test_they_grow_as_they_are_set():
    prefixes, long = Prefixes(2), np.arange(100, dtype=np.int32)
    for length in (1, 10, 40, 100):
        prefixes[0] = long[:length]
        assert prefixes.shared(long).tolist() == [length, 0]
