"""How late time limits are, and how soon all that a program started is gone.

    python -m benchmarks.sandbox_limits --rounds=10

For each kind of limit the median and the worst of two delays past it, in milliseconds: to the last
sign of life of any process of the program, which these print all the time, and to the result, when
nothing of the program is left. Meant for a quiet machine: time on a CPU is taken from the clock.
"""

import asyncio
import statistics
import time

from absl import flags

from ocijax.program import run
from ocijax.sandbox import Limits, Sandbox

ROUNDS = flags.DEFINE_integer("rounds", 10, "Programs for each kind of limit.", lower_bound=1)

SECONDS = 1.0
PATIENCE = 60.0
PROCESSES = 16

PROGRAM = f"""
import os, signal, time

def tell():
    os.write(1, b"%d\\n" % time.monotonic_ns())

def wait():
    while True:
        tell()
        time.sleep(0.001)

def compute():
    while True:
        tell()
        for _ in range(10_000):
            pass

def multiply():
    for number in set(range(1, 32)) - {{signal.SIGKILL, signal.SIGSTOP}}:
        signal.signal(number, signal.SIG_IGN)
    for _ in range({PROCESSES - 1}):
        if os.fork() == 0:
            os.setsid()
            break
    wait()

def f(act):
    tell()
    globals()[act]()
"""

KINDS = {
    "a script's clock": ("run", "wait", {}),
    f"a script's clock, {PROCESSES} deaf processes": ("run", "multiply", {}),
    "an input's clock": ("call", "wait", {}),
    f"an input's clock, {PROCESSES} deaf processes": ("call", "multiply", {}),
    "an input's CPU time": ("call", "compute", {"cpu_seconds": SECONDS}),
    "a process's CPU time": ("run", "compute", {"cpu_seconds": SECONDS}),
}
"""By name: the method, what the program does, and limits other than that on the clock."""


async def past(isolation: str, method: str, act: str, limit: dict[str, float]) -> tuple[float, ...]:
    """Milliseconds past the limit at the last sign of life and at the result."""
    wall = PATIENCE if limit else SECONDS
    if method == "run":
        sandbox = Sandbox(Limits(wall_seconds=wall, **limit), isolation)
        await sandbox.run("")
        result = await sandbox.run(f"{PROGRAM}\nf({act!r})")
        status = result.status
    else:
        sandbox = Sandbox(isolation=isolation)
        await sandbox.run("")
        result = await sandbox.call(PROGRAM, "f", [(act,)], wall_seconds=wall, **limit)
        status = result.outcomes[0].status
    ended = time.monotonic_ns()
    if status != "timeout":
        raise RuntimeError(f"the sandbox gave {result}")
    signs = [int(line) for line in result.stdout.splitlines() if line.isdigit()]
    signs = [sign for sign in signs if signs[0] <= sign <= ended]  # one may be cut in the middle
    return tuple((moment - signs[0]) / 1e6 - 1000 * SECONDS for moment in (max(signs), ended))


def main() -> None:
    """Prints the table."""
    print(f"milliseconds past a limit of {SECONDS:g} s, {ROUNDS.value} programs of each kind")
    print(f"{'':52}{'last sign of life':>20}{'result':>20}")
    for isolation in ("namespaces", "limits"):
        for name, kind in KINDS.items():
            columns = zip(
                *(asyncio.run(past(isolation, *kind)) for _ in range(ROUNDS.value)), strict=True
            )
            shown = [f"{statistics.median(one):7.1f} ({max(one):7.1f})" for one in columns]
            print(f"{isolation + ': ' + name:52}{shown[0]:>20}{shown[1]:>20}", flush=True)


if __name__ == "__main__":
    run(main)
