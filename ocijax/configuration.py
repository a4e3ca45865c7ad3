"""Mappings to frozen dataclasses and back; an unknown, mistyped or inconsistent field is named."""

import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ocijax.errors import InputError

Config = TypeVar("Config")


def from_mapping(kind: type[Config], mapping: Mapping[str, Any], name: str = "config") -> Config:
    """A ``kind`` from a nested mapping (a dict, an ``ml_collections.ConfigDict``, read JSON).

    Fields may be ``bool``, ``int``, ``float`` (an int will do), ``str``, ``Literal`` (or a union of
    them), nested dataclasses and ``tuple[X, ...]`` of these, given as any sequence; for
    ``tuple[str, ...]`` a string of comma-separated parts will do, as on the command line.

    Example::

      recipe = from_mapping(Recipe, get_config())

    Args:
      kind: a frozen dataclass; fields left out of the mapping take its defaults.
      mapping: values by field name.
      name: what the message calls the mapping; fields are named below it, with dots.

    Raises:
      InputError: an unknown field (the nearest known one is named), a missing one, a wrong type,
        or a value that the dataclass itself refuses by a ValueError that begins with the field.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)
            raise InputError(f"{name}.{key}: no such field; did you mean {name}.{near[0]}?")
    values = {}
    for key, field in fields.items():
        if key in mapping:
            values[key] = _value(hints[key], mapping[key], f"{name}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{name}.{key}: is missing; give it a value ({_spell(hints[key])})")
    try:
        return kind(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{name}.{error}") from error


def to_mapping(config: Any) -> dict[str, Any]:
    """A dataclass as a nested dict that JSON can hold; `from_mapping` reads it back."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], name: str = "config"
) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two nested mappings differ: ``(dotted name, one's, other's)``.

    A field that only one of them has counts as ``None`` in the other.
    """
    for key in dict.fromkeys([*one, *other]):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from differences(left, right, f"{name}.{key}")
        elif left != right:
            yield f"{name}.{key}", left, right


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _value(hint: Any, value: Any, name: str) -> Any:
    """``value`` as ``hint`` wants it, or InputError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        if all(typing.get_origin(option) is typing.Literal for option in options):
            hint = typing.Literal[tuple(itertools.chain(*map(typing.get_args, options)))]
        else:
            (hint,) = options
        return _value(hint, value, name)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        # A ConfigDict is a mapping in all but its base class.
        if isinstance(value, Mapping) or hasattr(value, "to_dict"):
            return from_mapping(hint, value, name)
    elif origin is typing.Literal:
        if value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, str) and arguments[0] is str:
            value = [part for part in value.split(",") if part]
        if isinstance(value, list | tuple):
            return tuple(_value(arguments[0], item, name) for item in value)
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise InputError(f"{name}: must be {_spell(hint)}, is {value!r}")


def _spell(hint: Any) -> str:
    """A type as a person would say it."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a sequence of {_spell(typing.get_args(hint)[0])}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping of {', '.join(field.name for field in dataclasses.fields(hint))}"
    return getattr(hint, "__name__", str(hint))
