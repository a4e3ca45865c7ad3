"""Benchmarks as a user starts them, at sizes of a few seconds."""

import os
import subprocess
import sys
from pathlib import Path


def run(module: str, *flags: str) -> subprocess.CompletedProcess:
    """A benchmark, on a CPU, to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *flags],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def rows(output: str) -> dict[str, list[str]]:
    """The rows of a table whose names are apart from the numbers by two spaces."""
    lines = (line.partition("  ") for line in output.splitlines())
    return {name: numbers.split() for name, _, numbers in lines if name}
