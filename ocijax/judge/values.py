"""Plain Python data as JSON and back, exactly.

What JSON holds stays as it is; the rest is an object with one key that begins with ``$``:
``{"$tuple": [...]}``, ``{"$set": [...]}``, ``{"$frozenset": [...]}``,
``{"$dict": [[key, value], ...]}`` where a key is not such text or begins with ``$``,
``{"$float": "nan"}``, ``{"$int": "0x..."}`` beyond 64 bits, ``{"$complex": ["1.0", "-0.0"]}``,
``{"$bytes": "00ff"}``, ``{"$bytearray": "00ff"}``, ``{"$text": "eda080"}`` for text with half of a
surrogate pair (its UTF-8), and ``{"$digest": ["sha256", length]}`` for a value too large to keep.
"""

import math
from typing import Any

from ocijax.sandbox.encoding import Digest

_LARGEST_INT = 2**63


def to_json(value: Any) -> Any:
    """The value as `json.dumps` takes it.

    Raises:
      TypeError: it is no plain data.
    """
    match value:
        case None | bool():
            return value
        case str():
            if _is_text(value):
                return value
            return {"$text": value.encode("utf-8", "surrogatepass").hex()}
        case int():
            return value if abs(value) < _LARGEST_INT else {"$int": hex(value)}
        case float():
            return value if math.isfinite(value) else {"$float": repr(value)}
        case complex():
            return {"$complex": [repr(value.real), repr(value.imag)]}
        case bytes():
            return {"$bytes": value.hex()}
        case bytearray():
            return {"$bytearray": value.hex()}
        case list():
            return [to_json(item) for item in value]
        case tuple():
            return {"$tuple": [to_json(item) for item in value]}
        case set():
            return {"$set": _ordered(value)}
        case frozenset():
            return {"$frozenset": _ordered(value)}
        case dict() if all(_is_text(key) and not key.startswith("$") for key in value):
            return {key: to_json(item) for key, item in value.items()}
        case dict():
            return {"$dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
        case Digest():
            return {"$digest": [value.sha256, value.length]}
    raise TypeError(f"{type(value).__name__} is no plain data")


def from_json(value: Any) -> Any:
    """The value that `to_json` wrote.

    Raises:
      ValueError: an object has an unknown ``$`` key, or its content is malformed.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return {key: from_json(item) for key, item in value.items()}
    try:
        [(tag, content)] = value.items()
        return _READERS[tag](content)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"no value is written as {value!r:.80}") from error


def _is_text(value: Any) -> bool:
    """Whether it is a str that UTF-8 can hold."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ordered(value: set | frozenset) -> list[Any]:
    # The same set gives the same text.
    return sorted((to_json(item) for item in value), key=repr)


_READERS = {
    "$tuple": lambda content: tuple(from_json(item) for item in content),
    "$set": lambda content: {from_json(item) for item in content},
    "$frozenset": lambda content: frozenset(from_json(item) for item in content),
    "$dict": lambda content: {from_json(key): from_json(item) for key, item in content},
    "$float": float,
    "$int": lambda content: int(content, 16),
    "$complex": lambda content: complex(float(content[0]), float(content[1])),
    "$bytes": bytes.fromhex,
    "$bytearray": bytearray.fromhex,
    "$text": lambda content: bytes.fromhex(content).decode("utf-8", "surrogatepass"),
    "$digest": lambda content: Digest(content[0], int(content[1])),
}
