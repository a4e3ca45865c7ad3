"""Makes types.json: EvalPlus 0.3.1's own verdicts on outputs of many types.

Install EvalPlus as make_evalplus.py says, with numpy 2.

    python tests/golden/make_types.py
"""

import json
from ast import literal_eval
from pathlib import Path

from evalplus.eval import untrusted_check

PROGRAM = """\
import array, collections, decimal, enum, fractions, itertools, numpy

Pair = collections.namedtuple("Pair", "x y")
Number = enum.IntEnum("Number", "ONE TWO")
Colour = enum.Enum("Colour", "RED GREEN")


class Letters:
    def __iter__(self):
        return iter("ab")


Diff = f = lambda: """

EQUAL = {
    "{'b': 1, 'a': 2}": [
        "collections.OrderedDict(a=2, b=1)",
        "collections.defaultdict(int, a=2, b=1)",
        "collections.Counter('aab')",
        "collections.Counter(a=2, b=1, c=0)",
        "type('Table', (dict,), {})(a=2, b=1)",
        "{numpy.str_('a'): numpy.int64(2), 'b': True}",
        "[('b', 1), ('a', 2)]",
    ],
    "{1: 'a'}": ["{True: 'a'}", "{fractions.Fraction(1): 'a'}", "{numpy.int64(1): 'a'}"],
    "(1, 2)": ["Pair(1, 2)", "type('Pair', (tuple,), {})((1, 2))", "[1, 2]", "Pair(2, 1)"],
    "[1, 2]": [
        "type('Row', (list,), {})([1, 2])",
        "[numpy.int64(1), numpy.uint8(2)]",
        "list(numpy.array([1, 2]))",
        "numpy.array([1, 2])",
        "collections.deque([1, 2])",
        "range(1, 3)",
        "{'a': 1, 'b': 2}.values()",
        "{1: 'a', 2: 'b'}.keys()",
        "iter([1, 2])",
        "itertools.count(1)",
    ],
    "[3]": ["numpy.array([3])", "[numpy.array(3)]", "numpy.array([4])"],
    "[[3]]": ["numpy.array([[3]])", "[numpy.array([3])]"],
    "[]": ["range(0)", "collections.deque()", "numpy.array([])"],
    "{1, 2}": [
        "frozenset({1, 2})",
        "{1: 'a', 2: 'b'}.keys()",
        "{'a': 1, 'b': 2}.values()",
        "type('Bag', (set,), {})({1, 2})",
        "{1.0, numpy.int64(2)}",
    ],
    "{(1, 2)}": ["{1: 2}.items()", "{Pair(1, 2)}"],
    "[{1}]": ["[frozenset({1})]", "[{1: 2}.keys()]"],
    "2": [
        "fractions.Fraction(4, 2)",
        "fractions.Fraction(5, 2)",
        "decimal.Decimal('2.00')",
        "decimal.Decimal('2.01')",
        "Number.TWO",
        "Colour.GREEN",
        "numpy.int8(2)",
        "numpy.float32(2)",
        "numpy.longdouble(2)",
        "numpy.complex64(2)",
        "numpy.array(2)",
        "numpy.timedelta64(2)",
        "type('Whole', (int,), {})(2)",
    ],
    "0.5": [
        "fractions.Fraction(1, 2)",
        "decimal.Decimal('0.5')",
        "numpy.float16(0.5)",
        "numpy.array(0.5)",
    ],
    # Exactly, where it is no float itself ...
    "0.1": [
        "fractions.Fraction(0.1)",
        "fractions.Fraction(1, 10)",
        "decimal.Decimal(0.1)",
        "decimal.Decimal('0.1')",
        "numpy.float64(0.1)",
        "numpy.float64(0.1 + 1e-9)",
        "numpy.longdouble(0.1)",
        "numpy.longdouble('0.1')",
        "type('Number', (float,), {})(0.1)",
        "type('Number', (float,), {})(0.1 + 1e-9)",
    ],
    # ... but near is right for what a list holds.
    "[0.1]": [
        "[fractions.Fraction(1, 10)]",
        "[decimal.Decimal(0.1)]",
        "[decimal.Decimal('0.1')]",
        "[numpy.float32(0.1)]",
        "[numpy.float64(0.1 + 1e-9)]",
        "[0.1 + 1e-9j]",
        "numpy.array([0.1])",
        "numpy.array([0.1 + 1e-9])",
    ],
    "1e400": ["decimal.Decimal('Infinity')", "numpy.float64('inf')", "10**400"],
    "[1e400]": ["[-numpy.inf]", "[decimal.Decimal('NaN')]", "[decimal.Decimal('sNaN')]"],
    "9007199254740993": [
        "decimal.Decimal(2**53 + 1)",
        "fractions.Fraction(2**53 + 1)",
        "numpy.int64(2**53 + 1)",
        "float(2**53)",
    ],
    "(1+2j)": ["numpy.complex128(1 + 2j)", "type('Point', (complex,), {})(1, 2)"],
    "True": ["numpy.bool_(True)", "1.0", "numpy.array(True)", "'True'"],
    "'ab'": [
        "type('Text', (str,), {})('ab')",
        "enum.StrEnum('Name', {'AB': 'ab'}).AB",
        "numpy.str_('ab')",
        "numpy.array('ab')",
        "b'ab'",
    ],
    "b'ab'": ["bytearray(b'ab')", "numpy.bytes_(b'ab')", "array.array('B', b'ab')"],
    "None": ["0", "numpy.array(None)"],
}
"""Outputs, by what was expected."""

SAME_SET = {
    "[2, 1]": [
        "numpy.array([1, 2])",
        "collections.deque([1, 2])",
        "range(1, 3)",
        "{'a': 1, 'b': 2}.values()",
        "{'a': 1, 'b': 2}.items()",
        "filter(None, [0, 1, 2])",
        "map(abs, [-1, 2])",
        "zip([1, 2])",
        "(number for number in (1, 2))",
        "iter([1, 2])",
        "(number for number in (1, 2, 3))",
        "itertools.chain([1], [2])",
        "fractions.Fraction(1)",
    ],
    "['a', 'b', 'b']": [
        "Letters()",
        "numpy.array(['b', 'a', 'a'])",
    ],
}
"""The same, where they are compared as sets."""


def verdict(dataset: str, name: str, output: str, expected: str) -> dict:
    """EvalPlus's verdict on an output."""
    program = PROGRAM + output
    inputs, seconds = [()], [0.0]
    status, _ = untrusted_check(
        dataset, program, inputs, name, [literal_eval(expected)], 0, seconds, fast_check=True
    )
    return {"expected": expected, "output": output, "verdict": status}


if __name__ == "__main__":
    found = {"program": PROGRAM} | {
        oracle: [
            verdict(dataset, name, output, expected)
            for expected, outputs in table.items()
            for output in outputs
        ]
        for oracle, dataset, name, table in (
            ("equal", "humaneval", "f", EQUAL),
            ("same_set", "mbpp", "Diff", SAME_SET),
        )
    }
    target = Path(__file__).with_name("types.json")
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(target, {oracle: len(found[oracle]) for oracle in ("equal", "same_set")})
