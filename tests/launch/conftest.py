"""Programs as a user starts them: in a process of their own, on the CPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launch.runs import recipe_flags

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Callable[..., subprocess.Popen]:
    """Starts ``python -m MODULE FLAGS`` with its output captured; it compiles for itself.

    Further arguments are environment variables.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run(module: str, *flags: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", module, *flags],
            cwd=ROOT,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def flags(tmp_path_factory, tiny_tokenizer_file) -> list[str]:
    """A recipe of many short steps, given on the command line; the workdir is left out."""
    return recipe_flags(tmp_path_factory.mktemp("conversations"), tiny_tokenizer_file)
