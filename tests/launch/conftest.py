"""Programs as a user starts them: in a process of their own, on the CPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen]:
    """Starts ``python -m MODULE FLAGS`` with its output captured; it compiles for itself."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run(module: str, *flags: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", module, *flags],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run
