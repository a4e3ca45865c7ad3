"""How a command-line program starts: absl flags in, one line out for bad input."""

import logging
import sys
from collections.abc import Callable

from absl import app

from ocijax.errors import InputError


def run(main: Callable[[], None]) -> None:
    """Parses absl flags, calls ``main`` and turns `InputError` into one line and exit status 1."""

    def guarded(arguments: list[str]) -> int:
        if len(arguments) > 1:
            print(f"error: unexpected argument {arguments[1]!r}; see --help", file=sys.stderr)
            return 1
        # It would tell every user of a CPU, one line a run, that there is no TPU.
        logging.getLogger("jax").setLevel(logging.WARNING)
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    app.run(guarded)
