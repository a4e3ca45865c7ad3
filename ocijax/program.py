"""How a command-line program starts: absl flags in, one line out for bad input."""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable

from absl import app, logging

from ocijax.errors import InputError


def run(main: Callable[[], int | None]) -> None:
    """Parses absl flags, calls ``main`` and turns `InputError` and Ctrl-C into one line.

    The exit status is what ``main`` returns, 0 for ``None``; 1 or, for Ctrl-C, 130 where it raises.
    """

    def guarded(arguments: list[str]) -> int:
        if len(arguments) > 1:
            print(f"error: unexpected argument {arguments[1]!r}; see --help", file=sys.stderr)
            return 1
        # JAX and Orbax would tell of every missing kind of device and every file read, Orbax would
        # warn of checkpoints whose arrays have files of their own, as those that we write have, and
        # log every thread's traceback of a failure that we report in one line.
        logging.set_verbosity(logging.FATAL)
        # Where one of its writes fails, Python tells of those that it had not begun.
        unbegun = r"coroutine '.*\.write_fragment' was never awaited"
        warnings.filterwarnings("ignore", unbegun, RuntimeWarning)
        if "jax" in sys.modules:  # others start without it, in a fraction of the time
            from ocijax.compiler import stay_off_absent_devices

            stay_off_absent_devices()
        try:
            return main() or 0
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopped; run the same command again to go on", file=sys.stderr)
            return 128 + signal.SIGINT  # as shells count

    app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    """absl's parser; what `ml_collections.config_flags` raises besides becomes one line too."""
    try:
        try:
            return app.parse_flags_with_usage(arguments)
        finally:
            sys.stdout.flush()  # of --help, which ends the program
    except BrokenPipeError:
        # Whoever reads --help has seen enough: there is nobody to tell, nor at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (AttributeError, KeyError) as error:
        text = str(error)
        named = re.search(r'Did you mean "(.+)" instead of "(.+)"', text)
        near, unknown = named.groups() if named else ("", text.strip("\"'"))
        fields = (argument.split("=")[0] for argument in arguments)
        flag = next((field for field in fields if unknown in field.split(".")), unknown)
        remedy = f"did you mean {near}?" if near else "see the config file for those there are"
        message = f"{flag}: the config has no field {unknown}; {remedy}"
    except LookupError as error:
        message = f"--config: {error}"
    except OSError as error:
        # The last line of its message is the reason that the config file was not read.
        message = f"--config: {str(error).splitlines()[-1].strip()}"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
