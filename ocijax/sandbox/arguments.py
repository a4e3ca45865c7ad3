"""Arguments as bytes on their way to a candidate.

Pickled, which is several times as fast as the closed encoding of what comes back: they are ours,
and are loaded in the candidate's process, where a program does what it likes anyway.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any

from ocijax.errors import InputError
from ocijax.sandbox.encoding import decode, encode


class _OtherType(Exception):
    pass


class _Pickler(pickle.Pickler):
    """Takes built-in types of plain data alone, and no subclass of them."""

    def reducer_override(self, value: Any) -> Any:
        """Asked of values of all other types, of which complex numbers are still plain."""
        if value is complex or type(value) is complex:
            return NotImplemented
        raise _OtherType


def pickled(inputs: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """The positional arguments of each call; what is equal to plain data is sent as that.

    Raises:
      InputError: one is no plain data, see `ocijax.sandbox.encoding`.
    """
    found = []
    for index, arguments in enumerate(inputs):
        try:
            try:
                found.append(_pickled(tuple(arguments)))
            except (_OtherType, RecursionError):
                found.append(_pickled(decode(encode(tuple(arguments)))))
        except _OtherType:
            raise InputError(
                f"input {index} holds what is no plain data: {arguments!r:.200}"
            ) from None
    return found


def _pickled(arguments: tuple[Any, ...]) -> bytes:
    data = io.BytesIO()
    _Pickler(data, pickle.HIGHEST_PROTOCOL).dump(arguments)
    return data.getvalue()
