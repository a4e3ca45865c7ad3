"""Verdicts on outputs of many types beside those that tests/golden/make_types.py recorded."""

import json
from ast import literal_eval
from pathlib import Path

import pytest

from ocijax.sandbox import Sandbox
from tests.judge.conftest import Judge, suite, task

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "types.json").read_text())


def name(row):
    return f"{row['output']} for {row['expected']}"


@pytest.fixture(scope="module")
def with_numpy(sandbox):
    return Judge(Sandbox(isolation=sandbox.isolation, packages=["numpy"]))


def verdict(judge, row, oracle):
    wanted = task(suite(((), literal_eval(row["expected"])), oracle=oracle))
    return judge.check(wanted, GOLDEN["program"] + row["output"]).suites["base"].status


@pytest.mark.parametrize("row", GOLDEN["equal"], ids=name)
def test_an_output_of_this_type_is_judged_as_by_evalplus(with_numpy, row):
    assert verdict(with_numpy, row, "equal") == row["verdict"]


@pytest.mark.parametrize("row", GOLDEN["same_set"], ids=name)
def test_an_output_of_this_type_is_judged_as_a_set_as_by_evalplus(with_numpy, row):
    assert verdict(with_numpy, row, "same_set") == row["verdict"]


LIAR = """
import collections, os

def answer(self, *arguments):
    if armed:
        os._exit(0)
    return True

def refuse(self, *arguments):
    if armed:
        os._exit(0)
    return object.__getattribute__(self, *arguments)

lies = dict.fromkeys(
    "__eq__ __ne__ __lt__ __len__ __iter__ __next__ __contains__ __reduce__ __reduce_ex__ __repr__ "
    "__str__ __format__ __int__ __float__ __complex__ __index__ __bool__ __bytes__ __buffer__ "
    "__getitem__ __getnewargs__ __getstate__ keys items values real imag encode".split(), answer
)
lies |= {"__hash__": lambda self: 1, "__getattribute__": refuse, "__class__": property(answer)}
armed = False
base, value = BASE, VALUE
lying = type("Lying", (base,), lies)(value)

def f(wrapped):
    global armed
    held = [lying] if wrapped else lying
    armed = True
    return held
"""


@pytest.mark.parametrize(
    "value",
    [
        5,
        2.5,
        1 + 2j,
        "text",
        b"bytes",
        bytearray(b"bytes"),
        [1, 2],
        (1, 2),
        {1, 2},
        frozenset({1, 2}),
        {1: 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_counts_as_the_value_it_holds_and_is_never_asked(with_numpy, value):
    program = LIAR.replace("BASE", type(value).__name__).replace("VALUE", repr(value))
    right = task(suite(((False,), value), ((True,), [value])))
    assert with_numpy.check(right, program).passed_base
    wrong = task(suite(((False,), type(value)())))
    assert with_numpy.check(wrong, program).suites["base"].status == "fail"


@pytest.mark.parametrize("base", ["OrderedDict", "defaultdict", "Counter"])
def test_a_kind_of_dict_counts_as_the_pairs_it_holds_and_is_never_asked(with_numpy, base):
    value = "(None, {1: 2})" if base == "defaultdict" else "({1: 2})"
    program = LIAR.replace("BASE", f"collections.{base}").replace("(value)", value)
    program = program.replace("VALUE", "None")
    assert with_numpy.check(task(suite(((False,), {1: 2}))), program).passed_base
    assert not with_numpy.check(task(suite(((False,), {}))), program).passed_base
