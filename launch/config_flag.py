"""The flag --config, as the programs that take a recipe share it."""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from ocijax.errors import InputError


def define_config_flag() -> None:
    """``--config=FILE``, or ``--config=FILE:DEVICES``, with a flag for each of its fields."""
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Recipe: a file with get_config(); behind a colon the devices to lay it out for.",
    )
    flags.mark_flag_as_required("config")


def read_config() -> dict[str, Any]:
    """The recipe that the flag and its overrides give, as a nested dict.

    Raises:
      InputError: there is no such file.
    """
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    if not Path(path.partition(":")[0]).is_file():
        raise InputError(f"--config={path}: there is no such file")
    return flags.FLAGS.config.to_dict()
