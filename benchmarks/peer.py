"""Runs a peer of a benchmark, in a process of its own: neither holds the other's memory."""

import importlib.util
import json
import subprocess
import sys


def peer_seconds(module: str, *arguments: str) -> float | None:
    """What a program that times transformers says, or ``None`` where that is not installed.

    Args:
      module: the program; prints JSON with ``seconds``.
      arguments: its flags.
    """
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        return None
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)["seconds"]
