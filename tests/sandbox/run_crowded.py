"""Runs a program at the level limits for a user who has more threads than it may have: one line.

Runs in an arena only: ``run_crowded.py OUTSIDE``, as `run_hostile.py`.
"""

import asyncio
import json
import sys
import threading

from ocijax.sandbox import Limits, Sandbox
from tests.sandbox import arena

LIMITS = Limits(processes=8)
PROGRAM = """
import os, threading
thread = threading.Thread(target=print, args=("thread",), kwargs={"flush": True})
thread.start()
thread.join()
if os.fork() == 0:
    print("process", flush=True)
    os._exit(0)
os.wait()
"""


def main(outside: str) -> None:
    """Prints how the program ended and what it printed."""
    arena.require(json.loads(outside))
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(3 * LIMITS.processes)]
    for thread in threads:
        thread.start()
    result = asyncio.run(Sandbox(LIMITS, "limits").run(PROGRAM))
    done.set()
    print(json.dumps({"status": result.status, "seen": result.stdout, "error": result.stderr}))


if __name__ == "__main__":
    main(*sys.argv[1:])
