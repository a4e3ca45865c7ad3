"""What the programs that read rows do with malformed ones."""

import sys
from collections.abc import Sequence

from ocijax.errors import InputError
from ocijax.json_lines import summarize_problems


def refuse_or_report(problems: Sequence[str], *, skip: bool) -> None:
    """Prints every problem on stderr if they may be skipped, or else refuses.

    Raises:
      InputError: there are problems and they may not be skipped.
    """
    if problems and not skip:
        raise InputError(f"{summarize_problems(problems)} (--skip_malformed goes on without them)")
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
