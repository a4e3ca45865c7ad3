"""What a workdir says of its run: the recipe, and everything else that made it.

WORKDIR/config.json   the recipe
WORKDIR/run.json      for each start: when, by which command, code, packages, devices and data
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from ocijax.configuration import differences, to_mapping
from ocijax.data.storage import digest
from ocijax.errors import InputError
from ocijax.train.config import FREE_TO_CHANGE, Recipe
from ocijax.whole_file import whole_file

_COMPILER_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "JAX_OPTIMIZATION_LEVEL")


def claim(workdir: Path, recipe: Recipe) -> None:
    """Writes the recipe into the workdir, or checks that it is the one already there.

    Raises:
      InputError: the workdir belongs to another recipe, the first differing field of which is
        named, or cannot be written.
    """
    path, mapping = workdir / "config.json", to_mapping(recipe)
    if path.exists():
        for name, there, here in differences(json.loads(path.read_text()), mapping):
            if name not in FREE_TO_CHANGE:
                raise InputError(
                    f"{workdir}: belongs to a run with {name}={there!r}, not {here!r}; choose "
                    "another --workdir or that value"
                )
    if jax.process_index() == 0:
        _write(path, mapping)


def record_start(workdir: Path, recipe: Recipe, mesh: Mesh) -> float:
    """Adds this start to ``run.json``; returns when the run first began, in seconds of the epoch.

    Only the first process writes, and knows of starts before this one.

    Raises:
      InputError: it cannot be written.
    """
    now = time.time()
    if jax.process_index() != 0:
        return now
    path = workdir / "run.json"
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    starts.append({"time": now, **_describe(recipe, mesh)})
    _write(path, {"starts": starts})
    return starts[0]["time"]


def _describe(recipe: Recipe, mesh: Mesh) -> dict[str, Any]:
    sources = (*recipe.data.train, *recipe.data.evaluation, recipe.data.tokenizer)
    device = mesh.devices.flat[0]
    return {
        "command": sys.argv,
        "recipe": to_mapping(recipe),
        "data_sha256": {path: digest(Path(path)) for path in sources},
        "code": _commit(Path.cwd()),
        "python": platform.python_version(),
        "packages": {found.name: found.version for found in metadata.distributions()},
        "devices": {
            "kind": device.device_kind,
            "platform": device.platform,
            "mesh": dict(mesh.shape),
            "processes": jax.process_count(),
        },
        "environment": {
            name: os.environ[name] for name in _COMPILER_VARIABLES if name in os.environ
        },
    }


def _commit(folder: Path) -> dict[str, Any] | None:
    """The git commit of a folder, and whether files differ from it; ``None`` outside git."""

    def git(arguments: Sequence[str]) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=10
        ).stdout.strip()

    try:
        commit = git(["rev-parse", "HEAD"])
        return {"commit": commit, "changed": bool(git(["status", "--porcelain"]))}
    except (OSError, subprocess.SubprocessError):
        return None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2) + "\n")
