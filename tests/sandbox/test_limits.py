"""What goes on past its limits is gone soon after, whole."""

import json
import os
import textwrap
import time
from pathlib import Path

import pytest

from ocijax.sandbox import Limits
from tests.sandbox import arena
from tests.sandbox.processes import named

LIMIT = 0.3
LATE = 8.0
"""Seconds that a busy machine may add; `benchmarks.sandbox_limits` prints what it really takes."""

NAMED = """
import ctypes, mmap, os, signal, subprocess, sys, threading, time
ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)

def insist(act):
    while True:
        try:
            act()
        except OSError:
            time.sleep(0.01)

def fork(act):
    if os.fork() == 0:
        act()
        os._exit(0)

def deafen():
    for number in {{*range(1, 65)}} - {{signal.SIGKILL, signal.SIGSTOP, 32, 33}}:
        signal.signal(number, signal.SIG_IGN)

def spin():
    while True:
        pass

def hold(size):
    held = bytearray(b"x") * size
    time.sleep(600)

count = iter(range(10**9))
"""

ENDLESS = {
    "waits": "time.sleep(600)",
    "computes": "spin()",
    "computes without a pause of the interpreter": "10 ** (10 ** 9)",
    "ignores signals": "deafen(); spin()",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "forks": "[fork(lambda: time.sleep(600)) for _ in range(8)]; time.sleep(600)",
    "forks and ends": "[fork(lambda: time.sleep(600)) for _ in range(8)]; spin()",
    "forks twice": "fork(lambda: (os.setsid(), deafen(), fork(spin))); os.wait(); spin()",
    "forks as its children end": "insist(lambda: (fork(lambda: None), os.wait()))",
    "starts threads": "[threading.Thread(target=spin).start() for _ in range(9)]",
    "starts programs": "subprocess.Popen(['sleep', '600']); subprocess.run(['sleep', '600'])",
    "fills the pipes": "fork(lambda: insist(lambda: os.write(2, bytes(1 << 16))));"
    "insist(lambda: os.write(1, bytes(1 << 16)))",
    "fills a pipe": "insist(lambda: os.write(os.pipe()[1], bytes(1 << 20)))",
    "holds memory in many processes": "[fork(lambda: hold(90 << 20)) for _ in range(6)];"
    "time.sleep(600)",
    "shares memory": "held = mmap.mmap(-1, 200 << 20); held.write(bytes(200 << 20)); spin()",
    "nests directories": "insist(lambda: (os.mkdir('d'), os.chdir('d')))",
}
FILLING = {
    "fills the disk": "insist(lambda: open(str(next(count)), 'wb').write(bytes(1 << 20)))",
    "fills the inodes": "insist(lambda: open(str(next(count)), 'wb').close())",
    "fills the process table": "insist(lambda: fork(lambda: time.sleep(600)))",
    "fills the process table from everywhere": "deafen(); insist(os.fork)",
    "fills the descriptors": "insist(lambda: os.pipe())",
}


@pytest.fixture
def name():
    """A name for processes that no other test has given."""
    return f"{time.monotonic_ns() % 10**9}-{os.getpid()}"[:15]


def ended(runner, name, act):
    """How a program ends that is a process of that name."""
    limits = Limits(wall_seconds=LIMIT, memory_bytes=400 << 20, file_bytes=32 << 20, processes=24)
    began = time.monotonic()
    result = runner.another(limits=limits).run(NAMED.format(name=name.encode()) + act)
    assert named(name) == []
    assert time.monotonic() - began < LIMIT + LATE
    return result


@pytest.mark.parametrize("act", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_program_is_gone_whole_soon_after_its_limit(runner, name, act):
    result = ended(runner, name, act)
    assert result.status in ("timeout", "memory", "output"), result
    assert result.status != "timeout" or result.wall_seconds >= LIMIT


@pytest.mark.parametrize("act", FILLING.values(), ids=FILLING.keys())
def test_a_program_that_fills_what_it_can_is_gone_whole_too(confined, name, act):
    assert ended(confined, name, act).status in ("timeout", "memory")


def test_a_program_that_forks_away_from_itself_is_gone_whole(runner, name):
    act = """
        deafen()
        for _ in range(10**6):
            if os.fork():
                os._exit(0)
    """
    assert ended(runner, name, textwrap.dedent(act)).status == "ok"


@pytest.mark.parametrize("act", ["waits", "ignores signals", "forks twice", "fills the pipes"])
def test_a_call_is_gone_whole_soon_after_its_limit(runner, name, act):
    body = f"def f(go):\n    if not go: return 1\n    {ENDLESS[act]}"
    program = NAMED.format(name=name.encode()) + body
    limited = runner.another(limits=Limits(memory_bytes=400 << 20, processes=24))
    began = time.monotonic()
    first, second = limited.call(program, [(False,), (True,)], wall_seconds=LIMIT).outcomes
    assert named(name) == []
    assert time.monotonic() - began < 2 * LATE
    assert first.value == 1
    assert second.status in ("timeout", "output")


def test_a_users_other_threads_do_not_count():
    command = [str(Path(__file__).with_name("run_crowded.py")), json.dumps(arena.outside())]
    small_threads = {"MALLOC_ARENA_MAX": "1"}  # an arena has little memory for them
    lines, errors = arena.run(command, "ordinary", small_threads, seconds=60)
    assert lines == [{"status": "ok", "seen": "thread\nprocess\n", "error": ""}], errors
