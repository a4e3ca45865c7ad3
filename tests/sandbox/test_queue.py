"""How jobs share the cores, what ends them early, and that none meets what another left."""

import asyncio
import itertools
import os
import subprocess
import sys
import textwrap
import time

import pytest

from ocijax.sandbox import Limits
from tests.sandbox.processes import alive, family, named, wait_until

FOREVER = "import time\ntime.sleep(600)"
LONG = Limits(wall_seconds=600.0)
_numbers = itertools.count()


@pytest.fixture
def mark():
    """A name for processes that no other test has given."""
    return f"{next(_numbers)}-{os.getpid()}-{time.monotonic_ns() % 10**6}"[:15]


def marked(mark, then=FOREVER):
    """A program whose process has a daemon, deaf to signals, and both of them the name."""
    return f"""
import ctypes, os, signal
reading, writing = os.pipe()
ctypes.CDLL(None).prctl(15, {mark.encode()!r}, 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    for number in {{*range(1, 32)}} - {{signal.SIGKILL, signal.SIGSTOP}}:
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.write(writing, b"x")
        os.closerange(0, 256)
        import time
        time.sleep(600)
    os._exit(0)
os.read(reading, 1)
os.wait()
{then}
"""


@pytest.fixture
def with_cores(runner, monkeypatch):
    """A sandbox as on a host of so many cores."""

    def with_cores(count, **settings):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)))
        return runner.another(**settings).sandbox

    return with_cores


async def ended(task):
    """Cancels a task and returns once it has ended."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(condition):
    await asyncio.to_thread(wait_until, condition)


def test_a_long_job_leaves_the_other_cores_to_the_rest(with_cores):
    sandbox = with_cores(2)

    async def share():
        long = asyncio.create_task(sandbox.run(FOREVER))
        results = await asyncio.gather(*(sandbox.run("print(1)") for _ in range(20)))
        assert not long.done()
        await ended(long)
        return {result.stdout for result in results}

    assert asyncio.run(share()) == {"1\n"}


def test_jobs_have_their_turn_in_the_order_they_came(with_cores):
    sandbox = with_cores(1, limits=LONG)
    order = []

    async def one(index):
        await sandbox.run("pass")
        order.append(index)

    async def all_of_them():
        long = asyncio.create_task(sandbox.run(FOREVER))  # leaves the others one place
        await asyncio.gather(*map(one, range(8)))
        await ended(long)

    asyncio.run(all_of_them())
    assert order == list(range(8))


def test_cancelling_ends_the_job_and_all_that_it_started(runner, mark):
    async def cancel():
        task = asyncio.create_task(runner.another(limits=LONG).sandbox.run(marked(mark)))
        await until(lambda: len(named(mark)) == 2)
        await ended(task)
        return named(mark)

    assert asyncio.run(cancel()) == []


def test_cancelling_twice_does_not_let_the_job_go_on(runner, mark):
    async def cancel():
        task = asyncio.create_task(runner.another(limits=LONG).sandbox.run(marked(mark)))
        await until(lambda: len(named(mark)) == 2)
        task.cancel()
        await asyncio.sleep(0)
        await ended(task)

    asyncio.run(cancel())
    wait_until(lambda: not named(mark))
    assert runner.run("print(1)").stdout == "1\n"


def test_a_cancelled_job_that_waits_for_its_turn_never_begins(with_cores, mark):
    sandbox = with_cores(1, limits=LONG)

    async def cancel():
        running = [asyncio.create_task(sandbox.run(marked(mark))) for _ in range(2)]
        await until(lambda: len(named(mark)) == 4)
        waiting = asyncio.create_task(sandbox.run("print(2)"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=20)
        assert waiting.cancelled()
        assert not any(task.done() for task in running)
        assert len(named(mark)) == 4
        for task in running:
            await ended(task)
        return (await sandbox.run("print(3)")).stdout

    assert asyncio.run(cancel()) == "3\n"


def test_no_process_is_used_for_two_programs(runner):
    program = """
        import builtins, collections, os, sys
        modules = builtins, collections, os, sys, sys.modules[__name__]
        found = [hasattr(module, "seen") for module in modules]
        found.append(sys.getrecursionlimit() == 1234)
        found.append("ours" in os.environ)
        found.append(os.path.exists("seen"))
        for module in modules:
            module.seen = True
        sys.setrecursionlimit(1234)
        os.environ["ours"] = "1"
        open("seen", "w").close()
        def f(): return any(found)
    """
    outcomes = [runner.call(program, [(), ()]).outcomes for _ in range(6)]
    assert [[outcome.value for outcome in one] for one in outcomes] == [[False, False]] * 6


def test_nothing_survives_when_we_are_killed_with_many_jobs_running(runner, mark, tmp_path):
    program = f"""
        import asyncio, os
        os.sched_getaffinity = lambda pid: range(2)  # three jobs at a time
        from ocijax.sandbox import Sandbox
        sandboxes = [Sandbox(isolation={runner.sandbox.isolation!r}) for _ in range(3)]
        program = {marked(mark)!r}
        async def all_of_them():
            await asyncio.gather(*(one.run(program) for one in sandboxes for _ in range(6)))
        asyncio.run(all_of_them())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        wait_until(lambda: len(named(mark)) == 2 * 3 * 3)
        members = family(parent.pid)
        assert len(members) > 2 * 3 * 3 + 3
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not alive(members))
    wait_until(lambda: not list(tmp_path.iterdir()))
    assert named(mark) == []
