import json
import math
from collections import Counter, OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.judge.values import from_json, to_json
from ocijax.sandbox.encoding import Digest, Opaque

NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), st.booleans()
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
KEYS = st.one_of(NUMBERS, TEXT, st.binary(max_size=8), st.none(), st.tuples(TEXT, NUMBERS))
DATA = st.recursive(
    st.one_of(KEYS, st.sets(KEYS, max_size=4), st.frozensets(KEYS, max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(TEXT, inner, max_size=4),
    ),
)


def through_json(value):
    return from_json(json.loads(json.dumps(to_json(value), ensure_ascii=False).encode().decode()))


def exact(value):
    """Tells apart what ``==`` does not: 1, 1.0 and True, 0.0 and -0.0."""
    if isinstance(value, dict):
        return dict, [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(exact(item)) for item in value)
    return type(value), repr(value)


@given(DATA)
def test_plain_data_comes_back_exactly(value):
    assert exact(through_json(value)) == exact(value)


@pytest.mark.parametrize(
    "value", [None, True, 3, 2**63 - 1, 0.5, "ü\u2028", [1, "a"], {"a": {"b": None}}]
)
def test_what_json_holds_stays_as_it_is(value):
    assert to_json(value) == value


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(10**40),
        math.inf,
        -math.inf,
        complex(0.0, -0.0),
        "\ud800",
        {"\ud800": 1},
        {"$tuple": [1]},
        {1: "one", (2, 3): {4}},
        bytearray(b"\x00\xff"),
        Digest("ab" * 32, 261_000_000),
    ],
)
def test_what_json_does_not_hold_comes_back_too(value):
    assert exact(through_json(value)) == exact(value)


def test_an_int_beyond_the_digits_that_text_may_have_comes_back():
    assert through_json(10**5000) == 10**5000


def test_nan_comes_back_as_nan():
    [value] = through_json([math.nan])
    assert math.isnan(value)


def test_a_subclass_of_dict_is_written_as_the_data_it_holds():
    assert through_json([Counter("aab"), OrderedDict(a=1)]) == [{"a": 2, "b": 1}, {"a": 1}]


def test_equal_sets_are_written_alike():
    values = ["b", "a", (1, "c"), 2.5]
    assert json.dumps(to_json(set(values))) == json.dumps(to_json(set(reversed(values))))


@pytest.mark.parametrize("value", [object(), [print], {"a": 1j, "b": range(3)}, Opaque("Node")])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises(TypeError, match="is no plain data"):
        to_json(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$list": [1]},
        {"$tuple": [1], "$set": [2]},
        {"$tuple": [1], "other": 2},
        {"$tuple": 1},
        {"$set": [[1]]},
        {"$dict": [[1, 2, 3]]},
        {"$int": "ten"},
        {"$int": 10},
        {"$float": "half"},
        {"$complex": ["1"]},
        {"$bytes": "0"},
        {"$text": "ff"},
        {"$digest": ["ab"]},
        [{"a": {"$unknown": 0}}],
    ],
)
def test_an_object_that_no_value_is_written_as_is_refused(value):
    with pytest.raises(ValueError, match=r"no value is written as .*\$"):
        from_json(value)
