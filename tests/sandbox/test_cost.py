"""What programs cost our own process: memory and descriptors."""

import json
import subprocess
import sys

import pytest

MEGABYTE = 1 << 20

ALONE = """
import asyncio, json, os, resource, sys
from ocijax.sandbox import Limits, Sandbox

isolation = sys.argv[1]

def most_held():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10

def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""


def alone(runner, program):
    """What ``program`` gives as ``found``, in a process of its own."""
    command = [sys.executable, "-c", f"{ALONE}{program}\nprint(json.dumps(found))"]
    done = subprocess.run([*command, runner.sandbox.isolation], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("stream", [1, 2])
def test_300_megabytes_printed_cost_less_than_5(runner, stream):
    found = alone(
        runner,
        f"""
sandbox = Sandbox(Limits(wall_seconds=60.0, output_bytes=320 << 10), isolation)
loud = '''
import os
for _ in range(310 << 4):
    os.write({stream}, bytes(range(1, 128)) * 512)
'''
asyncio.run(sandbox.run("print(1)"))
before = most_held()
result = asyncio.run(sandbox.run(loud))
kept = len(result.stdout if {stream} == 1 else result.stderr)
found = [result.status, kept, most_held() - before]
""",
    )
    status, kept, held = found
    assert status == "ok"
    assert 320 << 10 <= kept <= 321 << 10
    assert held < 5 * MEGABYTE


def test_a_value_longer_than_asked_for_is_not_decoded(runner):
    found = alone(
        runner,
        """
sandbox = Sandbox(isolation=isolation)
forging = '''
import os
def f():
    value = b"l%x;" % (4 << 20) + b"S0;" * (4 << 20)
    frame = b"v" + value
    with open(3, "wb", closefd=False) as channel:
        channel.write(len(frame).to_bytes(8, "big") + frame)
    os._exit(0)
'''
before = most_held()
call = sandbox.call(forging, "f", [()], value_bytes=1 << 20)
[outcome] = asyncio.run(call).outcomes
found = [outcome.status, outcome.error, most_held() - before]
""",
    )
    status, error, held = found
    assert status == "error"
    assert "wrote into the channel" in error
    assert held < 100 * MEGABYTE


def test_a_thousand_jobs_may_queue(runner):
    found = alone(
        runner,
        """
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
sandbox = Sandbox(isolation=isolation)

async def all_of_them():
    program = "def f(x): return x"
    calls = [sandbox.call(program, "f", [(index,)]) for index in range(1000)]
    return [result.outcomes[0].value for result in await asyncio.gather(*calls)]

async def one_in_each_launcher():
    await asyncio.gather(*(sandbox.run("") for _ in range(sandbox.concurrency)))

asyncio.run(one_in_each_launcher())
before = descriptors()
values = asyncio.run(all_of_them())
found = [values == list(range(1000)), descriptors() - before]
""",
    )
    assert found == [True, 0]
