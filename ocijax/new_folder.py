"""Folders that are whole or not there."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocijax.errors import InputError

_REMOVALS = 50
_PAUSE_SECONDS = 0.1


@contextmanager
def new_folder(
    output: str | Path, flag: str = "--output", overwrite: bool | None = None
) -> Iterator[Path]:
    """A folder to fill that takes its name ``output`` only when all went well.

    Whatever ends the program before leaves nothing under that name, or what was there before.

    Args:
      output: the name; folders above it are made.
      flag: what messages call the name.
      overwrite: replace what has that name already; ``None`` where no flag asks for that.

    Raises:
      InputError: ``output`` exists already, or cannot be made.
    """
    output = Path(output)
    if output.exists() and not overwrite:
        remedy = "remove it" if overwrite is None else "replace it by --overwrite"
        raise InputError(f"{output} exists already: {remedy} or choose another {flag}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise InputError(f"{output}: cannot make it: {error.strerror}") from error
    try:
        yield unfinished
        unfinished.chmod(0o755)
        if output.exists():
            # A folder's name can pass only to where nothing or an empty folder is.
            replaced = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
            os.rename(output, replaced / output.name)
            os.rename(unfinished, output)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.rename(unfinished, output)
    except BaseException as error:
        _remove(unfinished)
        if isinstance(error, InputError):
            # The name that it had until now says nothing to anybody.
            raise InputError(str(error).replace(str(unfinished), str(output))) from error
        raise


def _remove(folder: Path) -> None:
    """Removes a folder in which threads may still be writing, where one of them has failed."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE_SECONDS)
