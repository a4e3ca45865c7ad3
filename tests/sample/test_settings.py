"""What may be asked of a generator."""

import pytest

from ocijax.errors import InputError
from ocijax.sample.settings import SamplingSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("seed", -1),
        ("seed", 2**32),
        ("top_k", -1),
        ("top_k", 2**31),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=rf"{field} must be .*, is {value}"):
        SamplingSettings(**{field: value})


def test_an_empty_stop_string_is_refused():
    with pytest.raises(InputError, match="a stop string is empty"):
        SamplingSettings(stop=("x", ""))
