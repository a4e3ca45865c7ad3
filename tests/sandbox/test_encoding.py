import collections
import decimal
import enum
import fractions
import itertools
import math
import random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.sandbox.encoding import (
    DEPTH,
    FRAME_BYTES,
    Digest,
    EncodingError,
    Opaque,
    decode,
    digest,
    encode,
)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    HASHABLE | st.binary(max_size=8).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=12,
)


def same(left, right):
    """Equal, and of equal types all the way down."""
    return repr(left) == repr(right) if not _sets(left) else left == right


def _sets(value):
    return "{" in repr(value)


@given(VALUES)
def test_every_plain_value_comes_back(value):
    assert same(decode(encode(value)), value)


@given(VALUES)
def test_a_value_and_its_copy_have_one_digest(value):
    assert digest(decode(encode(value))) == digest(value)


@given(st.binary(max_size=64))
def test_any_bytes_are_decoded_or_refused(data):
    try:
        value = decode(data)
    except EncodingError:
        return
    assert digest(decode(encode(value))) == digest(value)


@given(VALUES, st.randoms(use_true_random=False))
def test_damaged_encodings_are_decoded_or_refused(value, source):
    data = bytearray(encode(value))
    data[source.randrange(len(data))] = source.randrange(256)
    try:
        decoded = decode(bytes(data))
    except EncodingError:
        return
    assert digest(decode(encode(decoded))) == digest(decoded)


def test_special_floats_keep_their_bits():
    values = decode(encode([math.inf, -math.inf, math.nan, -0.0]))
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])
    assert math.copysign(1, values[3]) == -1


def test_integers_may_have_more_digits_than_python_prints():
    value = -(3**100_000)
    assert decode(encode(value)) == value


def test_lone_surrogates_come_back():
    assert decode(encode("\ud800x")) == "\ud800x"


class Lying(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__

    def __index__(self):
        return 99

    def __format__(self, spec):
        return "63"


class Liar(list):
    def __iter__(self):
        return iter(["right"])

    def __len__(self):
        return 1


class Color(enum.IntEnum):
    RED = 7


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Lying(5), 5),
        (Liar([1, 2]), [1, 2]),
        (Color.RED, 7),
        (Point(1, 2), (1, 2)),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (fractions.Fraction(6, 3), 2),
        (fractions.Fraction(1, 2), 0.5),
        (decimal.Decimal("2.5"), 2.5),
        ({1: 2}.keys(), {1}),
        ({1: 2}.items(), {(1, 2)}),
    ],
)
def test_subclasses_and_number_types_become_the_value_they_hold(value, plain):
    result = decode(encode(value))
    assert result == plain
    assert type(result) is type(plain)


def test_numpy_scalars_become_numbers():
    assert decode(encode([numpy.int64(3), numpy.float32(0.5), numpy.bool_(True)])) == [3, 0.5, True]


def test_other_objects_are_opaque_and_equal_to_nothing_plain():
    class Everything:
        def __eq__(self, other):
            return True

        __hash__ = None

    result = decode(encode([Everything()]))
    assert isinstance(result[0], Opaque)
    assert result[0].type_name == "Everything"
    assert result != [3]


def test_an_object_whose_methods_fail_is_opaque():
    class Broken:
        def __repr__(self):
            raise RuntimeError

        @property
        def __class__(self):
            return int

    assert decode(encode(Broken())) == Opaque("Broken", "")


def test_nesting_has_an_end():
    endless = []
    endless.append(endless)
    assert isinstance(decode(encode(endless)), Opaque)
    deep = value = []
    for _ in range(DEPTH - 1):
        value.append([])
        value = value[0]
    assert decode(encode(deep)) == deep
    value.append([])
    assert isinstance(decode(encode(deep)), Opaque)


def test_what_can_be_written_can_be_read_at_any_depth():
    for leaf in (object(), digest(1)):
        deep = leaf
        for _ in range(DEPTH + 1):
            deep = [deep]
            decode(encode(deep))


def test_only_what_stands_alone_is_asked_for_its_items():
    assert list(decode(encode(range(3)))) == [0, 1, 2]
    with pytest.raises(TypeError, match="range has no items"):
        list(decode(encode([range(3)]))[0])
    with pytest.raises(TypeError, match="count has no items"):
        list(decode(encode(itertools.count())))


def test_a_value_beyond_the_limit_is_sent_as_its_digest():
    value = list(range(100_000))
    sent = decode(encode(value, limit=1000))
    assert isinstance(sent, Digest)
    assert sent == digest(value)
    assert sent.length > 100_000
    assert decode(encode(value, limit=FRAME_BYTES)) == value


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1, 0, 0.0, 2**60], [1.0, False, -0.0, float(2**60)]),
        ({1: "a", 2: "b"}, {2.0: "b", True: "a"}),
        ({1, 2}, frozenset([2, 1])),
        (complex(2, 0), 2),
        (b"x", bytearray(b"x")),
    ],
)
def test_equal_values_have_equal_digests(left, right):
    assert left == right
    assert digest(left) == digest(right)


@pytest.mark.parametrize(("left", "right"), [([1], (1,)), ("1", 1), ([[], []], [[[]]]), ("", b"")])
def test_unequal_values_have_unequal_digests(left, right):
    assert digest(left) != digest(right)


def test_keys_chosen_to_collide_are_refused():
    modulus = 2**61 - 1
    data = b"S%x;" % 2000 + b"".join(b"i%x;" % (index * modulus) for index in range(2000))
    with pytest.raises(EncodingError, match="hash"):
        decode(data)


def test_large_honest_sets_are_not_refused():
    numbers = random.Random(0).sample(range(-(10**6), 10**6), 50_000)
    assert decode(encode(set(numbers))) == set(numbers)


@pytest.mark.parametrize("data", [b"", b"x", b"l5;N", b"s-1;", b"NN", b"d1;l0;N", b"Dt0;", b"i;"])
def test_malformed_bytes_are_refused(data):
    with pytest.raises(EncodingError):
        decode(data)
