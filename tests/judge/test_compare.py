import math

import pytest

from ocijax.judge.compare import EVALPLUS_ORACLES, ORACLES, is_right, same_output, tolerances
from ocijax.judge.task import TestCase
from ocijax.sandbox import Opaque, digest


def right(actual, expected, *arguments, oracle="equal", atol=0.0):
    return is_right(TestCase(arguments, expected), actual, oracle, atol)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(3, 3), (3.0, 3), (True, 1), ({1, 2}, {2, 1}), ([(1, "a")], [(1, "a")]), (None, None)],
)
def test_what_is_equal_is_right(actual, expected):
    assert right(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(3, 4), ((1, 2), [1, 2]), ("1", 1), (None, 0), ([1], [1, 1]), (math.nan, math.nan)],
)
def test_what_is_not_equal_is_wrong(actual, expected):
    assert not right(actual, expected)


def test_a_value_that_is_no_data_is_never_right():
    assert not right(Opaque("object", "3"), 3)


def test_floats_may_differ_by_the_tolerance():
    assert right(1.0 + 9e-7, 1.0, atol=1e-6)
    assert not right(1.0 + 2e-6, 1.0, atol=1e-6)
    assert right([1.0, 2.0], [1.0, 2.0 + 5e-7], atol=1e-6)


def test_near_values_are_wrong_where_type_or_length_differs():
    assert not right((1.0000001,), [1.0], atol=1e-6)
    assert not right([1.0000001], [1.0, 1.0], atol=1e-6)
    assert not right(1, 1.0000001, atol=1e-6)


def test_near_values_are_wrong_where_they_are_only_like_the_expected_type():
    case = TestCase((), 1.0)
    assert is_right(case, 1.0000001, atol=1e-6, plain=True)
    assert not is_right(case, 1.0000001, atol=1e-6, plain=False)
    assert is_right(case, 1.0, atol=1e-6, plain=False)


def test_values_that_cannot_be_subtracted_are_wrong():
    assert not right({"a": 1.0000001}, {"a": 1.0}, atol=1e-6)
    assert not right([[1.0], [1.0, 2.0]], [[1.0], [1.0, 2.5]], atol=1e-6)
    assert not right([10**400, 1.5], [10**400, 1.6], atol=1e-6)


def test_expected_floats_bring_a_tolerance_that_stays_to_the_end_of_the_suite():
    assert tolerances(0.0, [1, [], [1.0], 3, "a"]) == [0, 0, 1e-6, 1e-6, 1e-6]
    assert tolerances(0.0, [[1.0, 2], (0.5,)]) == [0, 1e-6]
    assert tolerances(1e-4, [1.0, 2]) == [1e-4, 1e-4]


def test_a_value_too_large_to_send_is_compared_by_digest():
    large = [("a", 1, 2.5)] * 1000
    assert right(digest(large), large)
    assert right(large, digest(large))
    assert right(digest([1, 2.0]), digest([1.0, 2]))
    assert not right(digest(large), large[1:])


def test_any_root_of_the_polynomial_is_right():
    coefficients = [-6, 11, -6, 1]
    for root in (1.0, 2.0, 3.00001):
        assert right(root, 1.0, coefficients, oracle="root", atol=1e-4)
    assert not right(1.5, 1.0, coefficients, oracle="root", atol=1e-4)
    assert not right(None, 1.0, coefficients, oracle="root", atol=1e-4)
    assert not right(math.nan, 1.0, coefficients, oracle="root", atol=1e-4)


def test_near_the_expected_root_is_no_root():
    assert not right(1.00009, 1.0, [-1000.0, 1000.0], oracle="root", atol=1e-4)


def test_some_outputs_are_compared_as_sets():
    assert right([2, 1, 1], (1, 2), oracle="same_set")
    assert not right([1], (1, 2), oracle="same_set")
    assert not right([[1]], (1, 2), oracle="same_set")
    assert right((1.0, 2.0 + 1e-9), (1.0, 2.0), oracle="same_set", atol=1e-6)


def test_some_outputs_only_must_be_there():
    assert right("match", True, oracle="not_none")
    assert right(Opaque("Match"), True, oracle="not_none")
    assert right(None, False, oracle="not_none")
    assert not right(False, True, oracle="not_none")
    assert not right(None, True, oracle="not_none")


def test_equivalence_is_undecided_and_passes():
    assert right(None, True, oracle="anything")


def test_zero_is_right_where_proper_divisors_are_summed():
    assert right(0, 1, 1, oracle="zero_too")
    assert right(1, 1, 1, oracle="zero_too")
    assert not right(2, 1, 1, oracle="zero_too")


def test_the_height_of_a_pyramid_has_two_readings():
    assert right(33, 33, 3, 4, oracle="upright_height")
    assert right(round(9 + 6 * math.hypot(1.5, 4)), 33, 3, 4, oracle="upright_height")
    assert not right(30, 33, 3, 4, oracle="upright_height")


def test_digits_may_be_compared_place_by_place():
    assert right(1, 1, 1, 2, oracle="digit_by_digit")
    assert right(18, 3, 99, 0, oracle="digit_by_digit")
    assert not right(17, 3, 99, 0, oracle="digit_by_digit")


def test_every_special_case_of_evalplus_has_an_oracle():
    named = {oracle for tasks in EVALPLUS_ORACLES.values() for oracle in tasks.values()}
    assert named | {"equal", "equal_list"} == set(ORACLES)


@pytest.mark.parametrize(
    ("expected", "actual", "atol", "right"),
    [
        ("1 2\n3\n", "1 2\n3", 0, True),
        ("1 2\n3\n", "1 2  \n3\t\n\n \n", 0, True),
        ("1 2\r\n3\r\n", "1 2\n3\n", 0, True),
        ("1 2\n3\n", "1  2\n3\n", 0, False),
        ("1 2\n3\n", " 1 2\n3\n", 0, False),
        ("1\n2\n", "1 2\n", 0, False),
        ("1\n\n2\n", "1\n2\n", 0, False),
        ("", "\n", 0, True),
        ("0.5\n", "0.50\n", 0, False),
        ("0.5 x\n", "0.5004 x\n", 1e-3, True),
        ("0.5 x\n", "0.502 x\n", 1e-3, False),
        ("0.5 x\n", "0.5 y\n", 1e-3, False),
        ("0.5 1\n", "0.5\n1\n", 1e-3, False),
        ("0.5\n", "nan\n", 1e-3, False),
    ],
)
def test_what_a_program_printed_is_compared_line_by_line(expected, actual, atol, right):
    assert same_output(expected, actual, atol) is right


def test_a_tuple_may_count_as_a_list():
    case = TestCase((), [1, 2])
    assert is_right(case, (1, 2), "equal_list")
    assert not is_right(case, (1, 3), "equal_list")
    assert not is_right(case, (1, 2))
