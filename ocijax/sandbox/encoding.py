"""Plain data as bytes: what crosses between a candidate's process and ours, and its digest.

A closed set of types, each behind one tag byte, so that decoding can never run anything: ``None``,
bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset and dict. A subclass
is written as the value its built-in base holds (none of its own methods is asked); fractions,
decimals, numpy scalars and arrays of one element as what they are equal to; views of a dict's keys
and items as sets. Anything else becomes `Opaque`. Works on the standard library alone: the
candidate's process imports it too.
"""

import contextlib
import itertools
import math
import os
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

FRAME_BYTES = 16 << 20
"""Largest encoding that may be sent whole; a larger value is sent as its `Digest`."""

ANSWER_BYTES = 256 << 20
"""All encodings of one call together; those after are sent whole up to `LATE_BYTES` each."""

LATE_BYTES = 4 << 10
"""See `ANSWER_BYTES`."""

PLAIN_TYPES = frozenset(
    map(type, (None, True, 0, 0.0, 0j, "", b"", bytearray(), [], (), set(), frozenset(), {}))
)
"""The types that `decode` gives."""

DEPTH = 200
"""Deepest nesting that is data; deeper (or without end) is `Opaque`."""

_EQUAL_HASHES = 1000
_TEXT = 200
_MOST_ITEMS = 1 << 16
_CHUNK = 1 << 12
_NUMBERS = {bool, int, float}
_FLOAT = struct.Struct(">d")
_TAGGED_FLOAT = struct.Struct(">cd").pack
_COMPLEX = struct.Struct(">dd")


@dataclass(frozen=True)
class Opaque:
    """A value that is no plain data.

    Attributes:
      type_name: name of its type.
      text: start of its ``repr``, as the candidate's own code gave it.
      items: what iterating over it gives, where that has an end; of what a function returns alone,
        ``None`` for what lies inside other values.
    """

    type_name: str
    text: str = ""
    items: tuple[Any, ...] | None = field(default=None, compare=False)

    def __iter__(self) -> Iterator[Any]:
        if self.items is None:
            raise TypeError(f"a value of type {self.type_name} has no items")
        return iter(self.items)


@dataclass(frozen=True)
class Digest:
    """A value too large to send: compare with `digest` of the expected one.

    Attributes:
      sha256: hexadecimal, of the canonical encoding.
      length: bytes of the canonical encoding.
    """

    sha256: str
    length: int


class EncodingError(ValueError):
    """The bytes are no encoding, or the value has none within the limits."""


class _Overflow(Exception):
    pass


def encode(value: Any, limit: int | None = None) -> bytes:
    """Returns the bytes of ``value``, order of sets and dicts kept.

    Args:
      value: anything; what is not plain data becomes `Opaque`.
      limit: bytes; beyond them the encoding is that of the value's `Digest`.
    """
    out = bytearray()

    def overflow(out: bytearray) -> None:
        if len(out) > limit:
            raise _Overflow

    full = _never if limit is None else overflow
    try:
        _write(value, out, 0, False, full)
        full(out)
    except _Overflow:
        return encode(digest(value))
    except RecursionError:
        return encode(Opaque(type(value).__name__, f"nested deeper than {DEPTH} levels"))
    return bytes(out)


def frame(data: bytes) -> bytes:
    """Returns ``data`` as it goes through a pipe: after its length in eight bytes, big endian."""
    return len(data).to_bytes(8, "big") + data


def read_frame(descriptor: int) -> bytes:
    """Waits for a frame and returns its data, less of it or none where the stream ends before."""
    length = int.from_bytes(_read_bytes(descriptor, 8), "big")
    return _read_bytes(descriptor, length)


def _read_bytes(descriptor: int, length: int) -> bytes:
    data = os.read(descriptor, length)
    if len(data) == length:
        return data
    parts = bytearray(data)
    while len(parts) < length and (part := os.read(descriptor, length - len(parts))):
        parts += part
    return bytes(parts)


def digest(value: Any) -> Digest:
    """Digests the canonical encoding, in which values that compare equal are written alike.

    ``1``, ``1.0`` and ``True`` give one digest, as do a set and a frozenset, bytes and bytearray,
    and dicts in any order. All NaN are alike.
    """
    import hashlib  # here, as few programs' values need it and each pays for what is loaded

    state = hashlib.sha256()
    length = 0

    def absorb(out: bytearray) -> None:
        nonlocal length
        if len(out) > 1 << 20:
            state.update(out)
            length += len(out)
            out.clear()

    out = bytearray()
    try:
        _write(value, out, 0, True, absorb)
    except RecursionError:
        raise EncodingError(f"value nested deeper than {DEPTH} levels") from None
    state.update(out)
    return Digest(state.hexdigest(), length + len(out))


def _write(
    value: Any, out: bytearray, depth: int, canonical: bool, full: Callable[[bytearray], None]
) -> None:
    """Appends ``value`` to ``out``; calls ``full`` as it grows. `RecursionError` past `DEPTH`."""
    kind = type(value)
    if value is None:
        out += b"N"
    elif kind is bool:
        if canonical:
            out += b"i1;" if value else b"i0;"
        else:
            out += b"T" if value else b"F"
    elif issubclass(kind, int):
        out += b"i%s;" % format(int.__index__(value), "x").encode()
    elif issubclass(kind, float):
        _write_float(float.__float__(value), out, canonical)
    elif issubclass(kind, str):
        data = str.encode(value, "utf-8", "surrogatepass")
        out += b"s%x;" % len(data)
        out += data
    elif issubclass(kind, list):
        _write_items(b"l", list.__len__(value), list.__iter__(value), out, depth, canonical, full)
    elif issubclass(kind, tuple):
        _write_items(b"t", tuple.__len__(value), tuple.__iter__(value), out, depth, canonical, full)
    elif issubclass(kind, dict):
        _write_dict(value, out, depth, canonical, full)
    elif issubclass(kind, set):
        _write_set(b"S", set.__iter__(value), out, depth, canonical, full)
    elif issubclass(kind, frozenset):
        tag = b"S" if canonical else b"Z"
        _write_set(tag, frozenset.__iter__(value), out, depth, canonical, full)
    elif issubclass(kind, bytes):
        data = bytes.__getitem__(value, slice(None))
        out += b"b%x;" % len(data)
        out += data
    elif issubclass(kind, bytearray):
        data = bytearray.__getitem__(value, slice(None))
        out += (b"b%x;" if canonical else b"a%x;") % len(data)
        out += data
    elif issubclass(kind, complex):
        real, imag = complex.real.__get__(value), complex.imag.__get__(value)
        if canonical and imag == 0:
            _write_float(real, out, True)
        else:
            if canonical:
                real, imag = (0.0 if part == 0 else part for part in (real, imag))
            out += b"c" + _COMPLEX.pack(real, imag)
    elif kind is Digest:
        out += b"D"
        _write((value.sha256, value.length), out, depth + 1, canonical, full)
    elif kind is Opaque:
        out += b"O"
        _write((value.type_name, value.text, value.items), out, depth + 1, canonical, full)
    elif kind in (_KEYS, _ITEMS):
        _write_set(b"S", kind.__iter__(value), out, depth, canonical, full)
    else:
        _write(_held(value, kind, depth), out, depth, canonical, full)


def _write_float(value: float, out: bytearray, canonical: bool) -> None:
    if canonical:
        if value != value:
            value = float("nan")
        elif value.is_integer():
            out += b"i%s;" % format(int(value), "x").encode()
            return
    out += b"f" + _FLOAT.pack(value)


def _write_items(tag, length, items, out, depth, canonical, full) -> None:
    if depth == DEPTH:
        raise RecursionError
    out += tag
    out += b"%x;" % length
    while chunk := tuple(itertools.islice(items, _CHUNK)):
        kinds = set(map(type, chunk))
        if kinds == {str} and sum(map(len, chunk)) < _CHUNK << 8:
            out += b"".join(map(_TEXTS.__getitem__, chunk))
        elif kinds <= _NUMBERS and (whole := _integers(chunk, kinds, canonical)):
            out += b"i%x;" * len(whole) % whole
        elif kinds == {float} and not canonical:
            out += b"".join(map(_TAGGED_FLOAT, itertools.repeat(b"f"), chunk))
        elif kinds == {int, float} and not canonical:
            out += b"".join(map(_number, chunk))
        else:
            for item in chunk:
                _write(item, out, depth + 1, canonical, full)
                full(out)
        full(out)


def _number(value: int | float) -> bytes:
    return b"i%x;" % value if type(value) is int else _TAGGED_FLOAT(b"f", value)


def _integers(chunk: tuple, kinds: set[type], canonical: bool) -> tuple[int, ...] | None:
    """The integers that stand for all numbers of ``chunk``, where they are written so."""
    if kinds == {int}:
        return chunk
    if canonical:
        with contextlib.suppress(ValueError, OverflowError):  # of NaN and infinity
            whole = tuple(map(math.trunc, chunk))
            return whole if whole == chunk else None
    return None


class _Texts(dict):
    """Encodings of short strings, which large values repeat a great deal."""

    def __missing__(self, text: str) -> bytes:
        data = text.encode("utf-8", "surrogatepass")
        part = b"s%x;%b" % (len(data), data)
        if len(part) < 64:
            if len(self) == _CHUNK:
                self.clear()
            self[text] = part
        return part


_TEXTS = _Texts()


def _write_set(tag, items, out, depth, canonical, full) -> None:
    parts = []
    for item in items:
        part = bytearray()
        _write(item, part, depth + 1, canonical, _never)
        parts.append(bytes(part))
    if canonical:
        parts.sort()
    _write_parts(tag, len(parts), parts, out, depth, full)


def _write_dict(value, out, depth, canonical, full) -> None:
    pairs = dict.items(value)
    if not canonical:
        flat = (part for pair in pairs for part in pair)
        _write_items(b"d", dict.__len__(value), flat, out, depth, canonical, full)
        return
    parts = []
    for pair in pairs:
        part = bytearray()
        for item in pair:
            _write(item, part, depth + 1, canonical, _never)
        parts.append(bytes(part))
    _write_parts(b"d", len(parts), sorted(parts), out, depth, full)


def _write_parts(tag, length, parts, out, depth, full) -> None:
    if depth == DEPTH:
        raise RecursionError
    out += tag
    out += b"%x;" % length
    for part in parts:
        out += part
        full(out)


def _never(out: bytearray) -> None:
    pass


_KEYS = type({}.keys())
_ITEMS = type({}.items())


_EXACT_NUMBERS = (("fractions", "Fraction"), ("decimal", "Decimal"), ("numpy", "longdouble"))


def _held(value: Any, kind: type, depth: int) -> Any:
    """The plain data that a value of another type is equal to, else its `Opaque`."""
    name = type.__dict__["__name__"].__get__(kind)
    try:
        for exact in _EXACT_NUMBERS:
            if kind is _imported(*exact):
                for convert in (int, float):
                    with contextlib.suppress(ValueError, OverflowError):
                        if convert(value) == value:
                            return convert(value)
                if depth and name == "Fraction":
                    return float(value)  # as tolerances take it, which look into lists
        if kind is _imported("numpy", "ndarray") and value.size == 1:
            return value.tolist()
        if kind.__module__ == "numpy" and issubclass(kind, _imported("numpy", "generic")):
            plain = value.item()
            if type(plain) in (bool, int, float, complex, str, bytes):
                return plain
        return Opaque(name, repr(value)[:_TEXT], None if depth else _items(value))
    except Exception:
        return Opaque(name)


def _imported(module: str, name: str) -> Any:
    """What the program has imported under that name already, else no type at all."""
    return getattr(sys.modules.get(module), name, ())


def _items(value: Any) -> tuple[Any, ...] | None:
    with contextlib.suppress(Exception):
        items = tuple(itertools.islice(iter(value), _MOST_ITEMS + 1))
        return items if len(items) <= _MOST_ITEMS else None


def decode(data: bytes) -> Any:
    """Returns the value of an encoding, of built-in types, `Digest` and `Opaque` only.

    Raises:
      EncodingError: not exactly one encoded value, too deep, or built to make hashing quadratic.
    """
    try:
        value, end = _read(data, 0, 0)
    except (
        ValueError,
        IndexError,
        struct.error,
        TypeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise EncodingError(f"not an encoded value: {error}") from None
    if end != len(data):
        raise EncodingError("bytes after the encoded value")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    tag = data[at : at + 1]
    at += 1
    if tag == b"N":
        return None, at
    if tag == b"T":
        return True, at
    if tag == b"F":
        return False, at
    if tag == b"f":
        return _FLOAT.unpack_from(data, at)[0], at + _FLOAT.size
    if tag == b"c":
        return complex(*_COMPLEX.unpack_from(data, at)), at + _COMPLEX.size
    if tag in (b"D", b"O"):
        fields, at = _read(data, at, depth + 1)
        record, *kinds = (Digest, str, int) if tag == b"D" else (Opaque, str, str, tuple | None)
        if type(fields) is not tuple or not all(map(isinstance, fields, kinds)):
            raise ValueError("malformed record")
        return record(*fields), at
    end = data.index(b";", at)
    number = int(data[at:end], 16)
    at = end + 1
    if tag == b"i":
        return number, at
    if number < 0 or number > len(data) - at:
        raise ValueError("length beyond the data")
    if tag in (b"s", b"b", b"a"):
        content = data[at : at + number]
        at += number
        if tag == b"s":
            return content.decode("utf-8", "surrogatepass"), at
        return (content if tag == b"b" else bytearray(content)), at
    if tag not in (b"l", b"t", b"S", b"Z", b"d"):
        raise ValueError(f"unknown tag {tag!r}")
    if depth == DEPTH:
        raise ValueError("nested too deep")
    items = []
    for _ in range(2 * number if tag == b"d" else number):
        if data.startswith(b"i", at):  # most items of large values: spared a call each
            end = data.index(b";", at)
            item, at = int(data[at + 1 : end], 16), end + 1
        else:
            item, at = _read(data, at, depth + 1)
        items.append(item)
    if tag == b"l":
        return items[:], at  # held without the room that was left for more
    if tag == b"t":
        return tuple(items), at
    keys = items[::2] if tag == b"d" else items
    _refuse_collisions(keys)
    if tag == b"d":
        return dict(zip(keys, items[1::2], strict=True)), at
    return (set if tag == b"S" else frozenset)(items), at


def _refuse_collisions(keys: list) -> None:
    """Unlike text, numbers hash predictably: many of one hash make a set quadratic to build."""
    if len(keys) <= _EQUAL_HASHES:
        return
    hashes = sorted(map(hash, keys))
    if any(map(int.__eq__, hashes, hashes[_EQUAL_HASHES:])):
        raise ValueError("too many keys of one hash")
