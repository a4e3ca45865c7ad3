"""Files that are whole or as they were before."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ocijax.errors import InputError

_ENDING = ".unfinished"


@contextmanager
def whole_file(path: str | Path, mode: str = "w", **options: Any) -> Iterator[IO]:
    """A file to fill, in a folder made where absent, that takes its name only when all went well.

    Whatever ends the program before leaves what had that name, and several processes may write the
    same file: the last to end gives it its content.

    Args:
      path: the name.
      mode: ``w`` for text in UTF-8, or ``wb``.
      options: others of `open`.

    Raises:
      InputError: it cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{_ENDING}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding = None if "b" in mode else "utf-8"
        with open(unfinished, mode, encoding=encoding, **options) as file:
            yield file
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: cannot write it: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def left_unfinished(path: Path, of: str) -> bool:
    """Whether a path is what a killed process left of a file of the name ``of``."""
    return path.name.startswith(f".{of}.") and path.name.endswith(_ENDING)
