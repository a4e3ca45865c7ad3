"""Fields that rows of published sets may leave out, or leave empty."""

from typing import Any

from ocijax.errors import InputError
from ocijax.judge.fields import field


def optional_text(row: dict[str, Any], name: str) -> str:
    """The text of a field; an empty one where it is absent or null.

    Raises:
      InputError: it is something else.
    """
    return "" if row.get(name) is None else field(row, "its", name, str)


def optional_texts(row: dict[str, Any], name: str) -> dict[str, str]:
    """The texts of a field by name, of which there may be none.

    Raises:
      InputError: it is something else.
    """
    found = {} if row.get(name) is None else field(row, "its", name, dict)
    for key, value in found.items():
        if not isinstance(value, str):
            raise InputError(f"its {name} are of the wrong type ({key}: {type(value).__name__})")
    return found
