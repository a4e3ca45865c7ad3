"""Programs that Hypothesis writes give in the sandbox what they give here."""

import random
import struct
import traceback

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PRELUDE = """
class Strange(Exception):
    pass

ERRORS = [ValueError, KeyError, OSError, ArithmeticError, AssertionError, StopIteration, Strange]

def fail(number, *arguments):
    raise ERRORS[number](*map(shown, arguments))

def shown(value):  # sets would be shown in an order of their own
    plain = isinstance(value, (int, float, complex, str, bytes, bytearray, type(None)))
    return repr(value) if plain else type(value).__name__

def items(value):
    ordered = isinstance(value, (list, tuple, str, bytes, bytearray, dict))
    return list(value) if ordered else [value]

def each(function, values):
    results = []
    for value in items(values):
        try:
            results.append(function(value))
        except (TypeError, ValueError) as error:
            results.append(str(error))
    return results

def f(number, a, b):
    return FUNCTIONS[number](a, b)
"""

# Beyond the digits that Hypothesis could print, whole numbers come from the programs.
NUMBERS = (
    st.integers()
    | st.builds(lambda factor, power: factor * 3**power, st.integers(), st.integers(0, 4000))
    | st.floats()
    | st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 2.0**53])
    | st.complex_numbers()
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
HASHABLE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT | st.binary(max_size=8),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLE | st.binary(max_size=8).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=8,
)
PAIRS = (
    st.tuples(NUMBERS, NUMBERS)
    | st.tuples(TEXT, TEXT)
    | st.tuples(*[st.sets(HASHABLE, max_size=4)] * 2)
    | st.tuples(*[st.lists(VALUES, max_size=4)] * 2)
    | st.tuples(VALUES, VALUES)
)
LITERALS = ["0", "1", "-7", "2.5", "1j", "None", "True", "''", "'ab'", "b'c'", "()", "[]", "{}"]
FORMS = """
{} + {}; {} - {}; {} * 3; {} / {}; {} // {}; {} & {}; {} | {}; {} ^ {}; {} ** 2; {} << 9
{} << 20_000; -{}; ~{}; not {}; {} < {}; {} <= {}; {} == {}; {} != {}; {} and {}; {} or {}; {} in {}
{} if {} else {}; divmod({}, {}); len({}); abs({}); bool({}); int({}); float({}); complex({})
round({}); shown({}); items({}); sorted(items({})); tuple(items({})); set(items({}))
frozenset(items({})); sum(items({})); max(items({})); any(items({}))
each(int, {}); each(float, {}); each(abs, {}); each(shown, {}); each(len, {}); each(set, {})
[{}, {}]; ({},); {{'key': {}}}; {{*items({})}}; [*items({}), {}]; [(x, {}) for x in items({})]
dict.fromkeys(items({}), {}); dict(enumerate(items({}))); list(zip(items({}), items({})))
({})[0]; ({})[::-1]; [1, 2][{}]; ({}).upper(); ({}).real; shown({}).encode('utf-8', 'replace')
bytearray(shown({}), 'ascii'); undefined; fail(0); fail(0, {}); fail(1, {}, {}); fail(2, 2, {})
fail(3, {}); fail(4, {}); fail(5, {}); fail(6, {})
"""
FORMS = [f"({form.strip()})" for line in FORMS.splitlines() for form in line.split(";") if line]


def expression(source, depth=0):
    """One of `FORMS`, of such and of arguments and literals."""
    if source.random() < 0.35 * depth:
        return source.choice(["a", "b", "a", "b", source.choice(LITERALS)])
    form = source.choice(FORMS)
    return form.format(*(expression(source, depth + 1) for _ in range(form.count("{}"))))


def exact(value):
    """Tells apart all that may differ: types, bits of floats, order of dicts; not of sets."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack(">d", value)
    if kind is complex:
        return kind, struct.pack(">dd", value.real, value.imag)
    if kind in (list, tuple):
        return kind, [exact(item) for item in value]
    if kind is dict:
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if kind in (set, frozenset):
        return kind, sorted(map(str, map(exact, value)))
    assert kind in (type(None), bool, int, str, bytes, bytearray)
    return kind, hex(value) if kind is int else value


def written(seed, pairs):
    """A program of five functions; other inputs have others, since Hypothesis repeats seeds."""
    source = random.Random(f"{seed} {exact(pairs)}")
    lines = "".join(f"    lambda a, b: {expression(source)},\n" for _ in pairs)
    return f"{PRELUDE}\nFUNCTIONS = [\n{lines}]\n"


def anew(value):
    """A copy that shares nothing, as what crosses: not even a NaN, which is equal to itself."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return kind(map(anew, value))
    if kind is dict:
        return {anew(key): anew(item) for key, item in value.items()}
    if kind is float:
        return struct.unpack("d", struct.pack("d", value))[0]
    if kind is complex:
        return complex(anew(value.real), anew(value.imag))
    return bytearray(value) if kind is bytearray else value


def directly(function, *arguments):
    """What the function gives here: its value, or the error in words."""
    try:
        return "ok", exact(function(*map(anew, arguments)))
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).rstrip("\n")
        return "error", text.encode("utf-8", "backslashreplace").decode()


def agrees(runner, seed, pairs):
    program = written(seed, pairs)
    here = {"__name__": "program"}
    exec(program, here)
    inputs = [(number, *pair) for number, pair in enumerate(pairs)]
    result = runner.call(program, inputs)
    assert result.load.status == "ok", result.load.error
    assert len(result.outcomes) == len(inputs)
    for arguments, outcome in zip(inputs, result.outcomes, strict=True):
        status, wanted = directly(here["f"], *arguments)
        assert outcome.status == status
        if status == "ok":
            assert exact(outcome.value) == wanted
        else:
            assert len(wanted) > 4096 or outcome.error.endswith("\n" + wanted)


EVERY_CASE = dict(
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, derandomize=True, **EVERY_CASE)
@given(st.integers(), st.tuples(*[PAIRS] * 5))
def test_a_thousand_cases_agree_with_direct_evaluation(runner, seed, pairs):
    agrees(runner, seed, pairs)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2000, **EVERY_CASE)
@given(st.integers(), st.tuples(*[PAIRS] * 5))
def test_ten_thousand_cases_agree_with_direct_evaluation(runner, seed, pairs):
    agrees(runner, seed, pairs)
