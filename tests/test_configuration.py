from dataclasses import dataclass, field
from typing import Literal

import pytest
from ml_collections import ConfigDict

from ocijax.configuration import differences, from_mapping, to_mapping
from ocijax.errors import InputError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["plain", "fancy"] = "plain"
    files: tuple[str, ...] = ()

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, is {self.rate}")


@dataclass(frozen=True)
class Outer:
    count: int
    flag: bool = False
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)


def refusal(mapping) -> str:
    with pytest.raises(InputError) as error:
        from_mapping(Outer, mapping)
    return str(error.value)


@pytest.mark.parametrize("kind", [dict, ConfigDict])
def test_nested_mappings_become_dataclasses_with_their_defaults(kind):
    config = from_mapping(Outer, kind({"count": 3, "inner": {"kind": "fancy"}}))
    assert config == Outer(count=3, inner=Inner(kind="fancy"))


def test_an_integer_will_do_for_a_float():
    rate = from_mapping(Outer, {"count": 1, "inner": {"rate": 1}}).inner.rate
    assert isinstance(rate, float)


@pytest.mark.parametrize("files", [["a", "b"], ("a", "b"), "a,b"])
def test_a_sequence_of_strings_may_be_one_with_commas(files):
    assert from_mapping(Inner, {"files": files}).files == ("a", "b")


def test_an_unknown_field_is_refused_with_the_nearest_known_one():
    message = refusal({"count": 1, "inner": {"rat": 1.0}})
    assert message == "config.inner.rat: no such field; did you mean config.inner.rate?"


def test_a_missing_field_is_named():
    assert refusal({}).startswith("config.count: is missing")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"count": 1.5}, "config.count: must be int, is 1.5"),
        ({"count": True}, "config.count: must be int, is True"),
        ({"count": 1, "flag": 1}, "config.flag: must be bool, is 1"),
        ({"count": 1, "limit": "x"}, "config.limit: must be int, is 'x'"),
        (
            {"count": 1, "inner": {"kind": "odd"}},
            "config.inner.kind: must be 'plain' or 'fancy', is 'odd'",
        ),
        (
            {"count": 1, "inner": {"files": [1]}},
            "config.inner.files: must be str, is 1",
        ),
        ({"count": 1, "inner": 2}, "config.inner: must be a mapping of rate, kind, files, is 2"),
    ],
)
def test_a_wrong_type_is_refused_by_dotted_name(mapping, message):
    assert refusal(mapping) == message


def test_what_the_dataclass_refuses_is_named_with_its_place():
    message = refusal({"count": 1, "inner": {"rate": -1.0}})
    assert message == "config.inner.rate must not be negative, is -1.0"


def test_to_mapping_reads_back():
    config = Outer(count=2, limit=4, inner=Inner(files=("a",)))
    assert from_mapping(Outer, to_mapping(config)) == config


def test_differences_name_the_fields():
    one, other = to_mapping(Outer(count=1)), to_mapping(Outer(count=1, inner=Inner(rate=0.1)))
    assert list(differences(one, other)) == [("config.inner.rate", 0.5, 0.1)]


def test_a_choice_may_be_a_union_of_choices():
    @dataclass(frozen=True)
    class Chosen:
        kernel: Literal["fast", "slow"] | Literal["auto"]

    for kernel in ("slow", "auto"):
        assert from_mapping(Chosen, {"kernel": kernel}) == Chosen(kernel)
    with pytest.raises(InputError, match=r"config.kernel: must be 'fast' or 'slow' or 'auto'"):
        from_mapping(Chosen, {"kernel": "odd"})
