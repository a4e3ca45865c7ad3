"""Cost of a check in the sandbox, beside other ways to run a candidate, in the same run.

    python -m benchmarks.sandbox --checks=200

A check calls a candidate's function on three inputs. Prints the median milliseconds of one check at
a time, and checks a second with one at a time more than there are cores: of our two levels, of a
bare interpreter started for each check, and where they are installed of one in bubblewrap and of
EvalPlus's own check.
"""

import asyncio
import concurrent.futures
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from absl import flags

from ocijax.program import run
from ocijax.sandbox import Sandbox

CHECKS = flags.DEFINE_integer("checks", 200, "Checks of each kind.", lower_bound=10)

PROGRAM = "def add(a, b):\n    return a + b\n"
INPUTS = [(1, 2), (3, 4), (5, 6)]
EXPECTED = [3, 7, 11]
BUBBLEWRAP = ("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/")
BUBBLEWRAP += ("--tmpfs", "/tmp", "--cap-drop", "ALL")
CORES = len(os.sched_getaffinity(0))
AT_ONCE = CORES + 1  # as our sandbox does


def sandboxed(isolation: str) -> tuple[float, float]:
    """Milliseconds and checks a second of our sandbox."""
    sandbox = Sandbox(isolation=isolation)

    async def check() -> None:
        result = await sandbox.call(PROGRAM, "add", INPUTS)
        if [outcome.value for outcome in result.outcomes] != EXPECTED:
            raise RuntimeError(f"the sandbox gave {result}")

    async def measure() -> tuple[float, float]:
        await asyncio.gather(*(check() for _ in range(sandbox.concurrency)))  # launchers start
        seconds = []
        for _ in range(CHECKS.value):
            start = time.perf_counter()
            await check()
            seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        await asyncio.gather(*(check() for _ in range(CHECKS.value)))
        return 1000 * statistics.median(seconds), CHECKS.value / (time.perf_counter() - start)

    return asyncio.run(measure())


def blocking(check: Callable[[], None]) -> tuple[float, float]:
    """The same of a function that returns when its check is done."""
    check()
    seconds = []
    for _ in range(CHECKS.value):
        start = time.perf_counter()
        check()
        seconds.append(time.perf_counter() - start)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: check(), range(CHECKS.value)))
        rate = CHECKS.value / (time.perf_counter() - start)
    return 1000 * statistics.median(seconds), rate


def interpreter(wrapper: tuple[str, ...] = ()) -> None:
    """A bare interpreter for the check, as an unsandboxed harness starts it."""
    tests = "".join(
        f"assert add{arguments} == {expected}\n"
        for arguments, expected in zip(INPUTS, EXPECTED, strict=True)
    )
    executable = os.path.realpath(sys.executable)
    subprocess.run([*wrapper, executable, "-I", "-S", "-c", PROGRAM + tests], check=True)


def evalplus_check() -> None:
    """EvalPlus's own check: a fork, without isolation."""
    from evalplus.eval import untrusted_check

    seconds = [0.0] * len(INPUTS)
    status, _ = untrusted_check("humaneval", PROGRAM, INPUTS, "add", EXPECTED, 0, seconds)
    if status != "pass":
        raise RuntimeError(f"evalplus says {status}")


def main() -> None:
    """Prints the table."""
    rows = {
        "ocijax, namespaces": lambda: sandboxed("namespaces"),
        "ocijax, limits alone": lambda: sandboxed("limits"),
        "bare interpreter": lambda: blocking(interpreter),
    }
    missing = []
    if shutil.which("bwrap"):
        rows["bubblewrap"] = lambda: blocking(partial(interpreter, BUBBLEWRAP))
    else:
        missing.append("bubblewrap")
    if importlib.util.find_spec("evalplus"):
        rows["evalplus, no isolation"] = lambda: blocking(evalplus_check)
    else:
        missing.append("evalplus, no isolation")
    print(f"{CORES} cores, {CHECKS.value} checks of each kind")
    print(f"{'':26}{'ms a check':>12}{'checks/s':>10}")
    for name, measure in rows.items():
        milliseconds, rate = measure()
        print(f"{name:26}{milliseconds:12.1f}{rate:10.0f}")
    for name in missing:
        print(f"{name:26}{'not installed':>22}")


if __name__ == "__main__":
    run(main)
