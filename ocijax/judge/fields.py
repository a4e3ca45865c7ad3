"""Reads the fields of a JSON object, and says in one line what is wrong with them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ocijax.errors import InputError
from ocijax.judge.values import from_json


def check_object(row: Any, place: str, known: Sequence[str]) -> None:
    """Refuses what is no object, or has other fields than those known: they may be misspelt."""
    if not isinstance(row, dict):
        raise InputError(f"{place} is not a JSON object")
    if unknown := [name for name in row if name not in known]:
        raise InputError(f"{place} has the unknown field {unknown[0]!r}; there are {listed(known)}")


def field(row: dict, owner: str, name: str, kind: type | tuple, default: Any = None) -> Any:
    """The field ``name``, of that kind; refused where it is absent and has no default."""
    value = row.get(name, default)
    if value is None:
        raise InputError(f"{owner} {name} is missing")
    if not isinstance(value, kind):
        raise InputError(f"{owner} {name} is of the wrong type ({type(value).__name__})")
    return value


def filled(row: dict, name: str) -> str:
    """A text of the row itself that is not empty."""
    text = field(row, "its", name, str)
    if not text.strip():
        raise InputError(f"its {name} is empty")
    return text


def plain(value: Any, place: str) -> Any:
    """The value that `ocijax.judge.values` wrote."""
    try:
        return from_json(value)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error


def is_quantity(value: Any) -> bool:
    """Whether it is a number from 0 on."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def listed(names: Iterable[str]) -> str:
    """The names as a message gives them."""
    return ", ".join(names)
