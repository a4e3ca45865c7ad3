"""Whether an output is right: EvalPlus's rules (github.com/evalplus/evalplus, 0.3.1), by oracle.

The rules see plain data only, decoded in our process, so no ``__eq__`` of a candidate is asked.
What a whole program printed is compared as judges of contests do, see `same_output`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ocijax.judge.cases import TestCase
from ocijax.sandbox.encoding import Digest, digest

_RELATIVE = 1e-7
_FLOATS_ATOL = 1e-6


def tolerances(atol: float, expected: Iterable[Any]) -> list[float]:
    """The absolute tolerance of each case of a suite, given the suite's and what is expected.

    Where the suite's is 0, it is 1e-6 from the first expected floats on: EvalPlus, too, keeps it
    for the cases after that one.
    """
    found = []
    for value in expected:
        if atol == 0 and _is_floats(value):
            atol = _FLOATS_ATOL
        found.append(atol)
    return found


def is_right(
    case: TestCase, actual: Any, oracle: str = "equal", atol: float = 0.0, plain: bool = True
) -> bool:
    """Whether ``actual`` is what the oracle accepts for this case.

    Args:
      case: the call and what was expected.
      actual: plain data; `Digest` where the output was too large to send. Such a one must be equal
        to what was expected, by whatever oracle.
      oracle: a name in `ORACLES`.
      atol: from `tolerances`; 0 compares exactly.
      plain: whether the output was of a built-in type itself; of others no close one is right.
    """
    if isinstance(case.expected, Digest) or isinstance(actual, Digest):
        one, other = (
            value if isinstance(value, Digest) else digest(value)
            for value in (case.expected, actual)
        )
        return one == other
    try:
        if ORACLES[oracle](case.arguments, actual, case.expected, atol):
            return True
        return plain and oracle != "root" and _close(actual, case.expected, atol)
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        # Outputs of the wrong kind cannot be compared: they are wrong.
        return False


def same_output(expected: str, actual: str, atol: float = 0.0) -> bool:
    """Whether a program printed what was expected.

    Lines are compared one by one, without white space at their ends; blank ones at the end do not
    count. Where ``atol`` is not 0, lines that differ may still agree word by word: in numbers that
    differ by no more than ``atol`` and a relative 1e-7.
    """
    one, other = (_lines(text) for text in (expected, actual))
    if len(one) != len(other):
        return False
    return all(
        a == b or (atol > 0 and _same_words(a, b, atol)) for a, b in zip(one, other, strict=True)
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_words(expected: str, actual: str, atol: float) -> bool:
    one, other = expected.split(), actual.split()
    return len(one) == len(other) and all(
        a == b or _same_number(a, b, atol) for a, b in zip(one, other, strict=True)
    )


def _same_number(expected: str, actual: str, atol: float) -> bool:
    try:
        one, other = float(expected), float(actual)
    except ValueError:
        return False
    return abs(one - other) <= atol + _RELATIVE * abs(one)


def _close(actual: Any, expected: Any, atol: float) -> bool:
    """Same type and length, and ``numpy.allclose`` with a relative tolerance of 1e-7."""
    if atol == 0 or type(actual) is not type(expected):
        return False
    if isinstance(expected, list | tuple) and len(actual) != len(expected):
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(actual, expected, rtol=_RELATIVE, atol=atol))


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _equal(arguments, actual, expected, atol) -> bool:
    return actual == expected


def _equal_list(arguments, actual, expected, atol) -> bool:
    """LiveCodeBench: a tuple counts as a list."""
    return (list(actual) if isinstance(actual, tuple) else actual) == expected


def _anything(arguments, actual, expected, atol) -> bool:
    return True


def _same_set(arguments, actual, expected, atol) -> bool:
    return set(actual) == set(expected)


def _not_none(arguments, actual, expected, atol) -> bool:
    return actual == expected if isinstance(actual, bool) else expected == (actual is not None)


def _root(arguments, actual, expected, atol) -> bool:
    """HumanEval/32: any root of the polynomial will do, and the reference's own answer.

    Where the polynomial is steep that answer may miss the tolerance: from Python 3.12 on, where
    ``sum`` rounds otherwise, it does.
    """
    if actual == expected:
        return True
    [coefficients] = arguments
    value = sum(factor * math.pow(actual, power) for power, factor in enumerate(coefficients))
    return abs(value) <= atol


def _zero_too(arguments, actual, expected, atol) -> bool:
    """Mbpp/295: whether a number divides itself is open for 0 and 1."""
    return actual in (expected, 0)


def _upright_height(arguments, actual, expected, atol) -> bool:
    """Mbpp/581: the height may be taken as that of the pyramid, not of its side."""
    if actual == expected:
        return True
    base, height = arguments
    surface = round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))
    return abs(actual - surface) <= atol


def _digit_by_digit(arguments, actual, expected, atol) -> bool:
    """Mbpp/558: digits may be compared place by place."""
    if actual == expected:
        return True
    width = max(len(str(number)) for number in arguments)
    one, other = (str(number).zfill(width) for number in arguments)
    distance = sum(abs(int(a) - int(b)) for a, b in zip(one, other, strict=True))
    return actual == distance


Oracle = Callable[[Sequence[Any], Any, Any, float], bool]

ORACLES: dict[str, Oracle] = {
    "equal": _equal,
    "equal_list": _equal_list,
    "anything": _anything,
    "same_set": _same_set,
    "not_none": _not_none,
    "root": _root,
    "zero_too": _zero_too,
    "upright_height": _upright_height,
    "digit_by_digit": _digit_by_digit,
}
"""``(arguments, actual, expected, atol) -> right``, by the name that a suite gives.

What these refuse may still be close enough, but for roots.
"""

EVALPLUS_ORACLES = {
    "humaneval": {"find_zero": "root"},
    "mbpp": {
        "are_equivalent": "anything",
        "sum_div": "zero_too",
        "surface_Area": "upright_height",
        "digit_distance_nums": "digit_by_digit",
        **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), "not_none"),
        **dict.fromkeys(
            (
                "similar_elements",
                "find_char_long",
                "common_in_nested_lists",
                "extract_singly",
                "larg_nnum",
                "intersection_array",
                "find_dissimilar",
                "Diff",
            ),
            "same_set",
        ),
    },
}
"""Oracles of EvalPlus's special cases, by benchmark and entry point."""
