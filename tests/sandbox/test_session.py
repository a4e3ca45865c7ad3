"""Cells executed one after another in one process."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Limits, Session

QUICK = Limits(wall_seconds=1.5, memory_bytes=512 << 20, processes=24, output_bytes=8 << 10)

NAMED = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
"""


def test_what_a_cell_defines_is_there_in_the_next(runner):
    results = runner.cells(
        """
        import math
        def area(r):
            return scale * math.pi * r
        """,
        "scale = 2",
        "print(area(1) == 2 * math.pi)",
    )
    assert [result.status for result in results] == ["ok"] * 3
    assert results[2].stdout == "True\n"
    assert results[2].isolation == runner.sandbox.isolation
    assert not any(result.restarted for result in results)


def test_a_file_that_a_cell_writes_is_there_in_the_next(runner):
    written, read = runner.cells("open('a', 'w').write('text');None", "open('a').read()")
    assert (written.stdout, read.stdout) == ("", "'text'\n")


@pytest.mark.parametrize(
    ("cell", "stdout"),
    [
        ("1 + 1", "2\n"),
        ("x = 5\nx", "5\n"),
        ("print('a')\n'b'", "a\n'b'\n"),
        ("1\n2", "2\n"),
        ("None", ""),
        ("x = 5", ""),
        ("if True:\n    7", ""),
        ("", ""),
        ("# nothing", ""),
    ],
)
def test_the_value_of_a_last_expression_is_shown(runner, cell, stdout):
    [result] = runner.cells(cell)
    assert (result.status, result.stdout, result.stderr) == ("ok", stdout, "")


def test_the_traceback_names_the_cells_and_shows_their_lines(runner):
    *_, result = runner.cells("def f(x):\n    return 1 / x", "f(1)", "y = 0\nf(y)")
    assert result.status == "error"
    assert result.stderr == (
        "Traceback (most recent call last):\n"
        '  File "<cell 3>", line 2, in <module>\n'
        "    f(y)\n"
        '  File "<cell 1>", line 2, in f\n'
        "    return 1 / x\n"
        "ZeroDivisionError: division by zero\n"
    )


def test_a_cell_that_does_not_compile_does_nothing(runner):
    *errors, last = runner.cells("x = 1", "x = 2\ny = (", "x = 3\nreturn x", "x = 4\nawait x", "x")
    assert [error.status for error in errors] == ["ok"] + ["error"] * 3
    assert 'File "<cell 2>", line 2' in errors[1].stderr
    assert all("SyntaxError" in error.stderr for error in errors[1:])
    assert last.stdout == "1\n"


@pytest.mark.parametrize(
    ("cell", "status", "stderr"),
    [
        ("1 / 0", "error", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "error", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
        ("bytes(1 << 40)", "memory", "MemoryError"),
        ("input()", "error", "EOFError"),
    ],
)
def test_an_exception_leaves_the_state_as_it_is(runner, cell, status, stderr):
    _, failed, after = runner.cells("x = 5", cell, "x")
    assert failed.status == status
    assert stderr in failed.stderr
    assert (failed.exit_code, failed.signal) == (None, None)
    assert (after.stdout, after.restarted) == ("5\n", False)


@pytest.mark.parametrize(
    ("cell", "status", "last_line"),
    [
        ("while True: pass", "timeout", "the program ran out of time"),
        ("import time; time.sleep(60)", "timeout", "the program ran out of time"),
        ("import os; os._exit(0)", "error", "the program ended its process with exit status 0"),
        (
            "import os; os.kill(os.getpid(), 11)",
            "killed",
            "the program's process was ended by signal SIGSEGV",
        ),
        ("while True: print('x' * 1000)", "output", "the program printed too much"),
        (
            "import os\nos.write(3, b'\\xff' * 99)\nwhile True: pass",
            "error",
            "the program wrote into the channel of its answers",
        ),
        ("import os; os.closerange(3, 99)", "error", None),
    ],
)
def test_a_process_that_ends_takes_the_state_with_it_and_both_results_say_so(
    runner, cell, status, last_line
):
    cells = ("x = 5; open('a', 'w').close()", cell, "import os; os.listdir()", "x")
    _, ended, fresh, after = runner.cells(*cells, limits=QUICK)
    assert ended.status == status
    if last_line:
        assert ended.stderr.splitlines()[-1] == last_line
    assert not ended.restarted
    assert (fresh.status, fresh.stdout, fresh.restarted) == ("ok", "[]\n", True)
    assert "NameError: name 'x' is not defined" in after.stderr
    assert not after.restarted


def test_the_exit_status_or_the_signal_is_that_of_a_process_that_ended(runner):
    left, shot = runner.cells("import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)")
    assert (left.exit_code, left.signal) == (3, None)
    assert (shot.exit_code, shot.signal) == (None, 9)


def test_a_process_that_ends_between_cells_is_noticed(runner):
    async def execute():
        async with Session(limits=QUICK, isolation=runner.sandbox.isolation) as session:
            leave = "import os, threading; threading.Timer(0.2, os._exit, (0,)).start()"
            first = await session.execute(leave)
            await asyncio.sleep(2)
            return first, await session.execute("1")

    first, second = asyncio.run(execute())
    assert (first.status, first.stderr, first.restarted) == ("ok", "", False)
    assert (second.status, second.stdout, second.restarted) == ("ok", "1\n", True)


def test_cells_keep_their_numbers_when_the_process_is_a_new_one(runner):
    _, second = runner.cells("import os; os._exit(0)", "1 / 0")
    assert 'File "<cell 2>"' in second.stderr


def test_the_time_limit_is_of_each_cell(runner):
    limits = Limits(wall_seconds=2.5)
    results = runner.cells(*["import time; time.sleep(1)"] * 3, limits=limits)
    assert [result.status for result in results] == ["ok"] * 3


def test_the_output_limit_is_of_each_cell(runner):
    most = 1024 * QUICK.output_bytes
    cell = f"print('begin'); print('x' * {most // 2}); print('end')"
    results = runner.cells(cell, cell, cell, limits=QUICK)
    for result in results:
        assert result.status == "ok"
        assert result.stdout.startswith("begin\nxxx")
        assert result.stdout.endswith("xxx\nend\n")
        assert "bytes left out" in result.stdout
        assert len(result.stdout) < 10_000


def test_each_cell_has_what_it_printed_itself(runner):
    cells = [
        f"import os, sys\nprint({i}); sys.stdout.write('{i}')\nsys.stderr.write('{i}!')\n"
        f"os.write(1, b'raw')"
        for i in range(20)
    ]
    for index, result in enumerate(runner.cells(*cells)):
        assert "raw" in result.stdout
        assert result.stdout.replace("raw", "") == f"{index}\n{index}3\n"
        assert result.stderr == f"{index}!"


def test_the_cpu_limit_is_of_the_process(runner):
    limits = Limits(wall_seconds=60.0, cpu_seconds=2.0)
    spin = "import time\nwhile time.process_time() < {}: pass"
    short, long = runner.cells(spin.format(1), spin.format(60), limits=limits)
    assert (short.status, long.status) == ("ok", "timeout")


def test_a_child_that_a_cell_lets_run_on_answers_nothing(runner):
    forked, after = runner.cells("import os\npid = os.fork()\n1", "2")
    assert forked.status == "ok"
    assert after.stdout == "2\n"


def test_a_cell_may_hold_anything(runner):
    results = runner.cells(
        "x = '\ud800'", "'ü'", "1\0", "(" * 10_000, "x = '" + "y" * 1_000_000 + "'"
    )
    assert [result.status for result in results[:3]] == ["error", "ok", "error"]
    assert results[1].stdout == "'ü'\n"
    assert results[3].status in ("error", "memory")
    assert results[4].status == "ok"


def test_cells_asked_for_at_once_are_executed_in_order(runner):
    async def execute():
        async with Session(isolation=runner.sandbox.isolation) as session:
            await session.execute("x = []")
            adding = [session.execute(f"x.append({index})\nx") for index in range(8)]
            return await asyncio.gather(*adding)

    results = asyncio.run(execute())
    assert [result.stdout for result in results] == [
        f"{list(range(index + 1))}\n" for index in range(8)
    ]


def test_sessions_share_nothing(runner):
    async def execute():
        isolation = runner.sandbox.isolation
        async with Session(isolation=isolation) as one, Session(isolation=isolation) as other:
            await one.execute("x = 1; open('a', 'w').close()")
            return await other.execute("import os; os.listdir(), 'x' in globals()")

    assert asyncio.run(execute()).stdout == "([], False)\n"


def test_a_cancelled_cell_ends_the_process(runner):
    async def execute():
        async with Session(isolation=runner.sandbox.isolation) as session:
            await session.execute("x = 1")
            task = asyncio.create_task(session.execute("while True: pass"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await session.execute("'x' in globals()")

    result = asyncio.run(execute())
    assert (result.stdout, result.restarted) == ("False\n", True)


def test_cancelling_a_cell_that_waits_for_its_turn_leaves_the_state(runner):
    async def execute():
        async with Session(isolation=runner.sandbox.isolation) as session:
            first = asyncio.create_task(session.execute("import time; time.sleep(0.5); x = 1"))
            await asyncio.sleep(0)
            waiting = asyncio.create_task(session.execute("x = 2"))
            await asyncio.sleep(0.1)
            waiting.cancel()
            await first
            return await session.execute("x")

    result = asyncio.run(execute())
    assert (result.stdout, result.restarted) == ("1\n", False)


def test_a_closed_session_executes_nothing(runner):
    async def execute():
        session = Session(isolation=runner.sandbox.isolation)
        await session.execute("1")
        await session.close()
        await session.close()
        await session.execute("1")

    with pytest.raises(InputError, match="closed"):
        asyncio.run(execute())


def test_named_packages_can_be_imported(runner):
    [result] = runner.cells("import numpy\nnumpy.arange(3).sum().item()", packages=["numpy"])
    assert result.stdout == "3\n"


def test_a_time_limit_ends_all_that_the_cells_started(runner):
    name = f"cells-{os.getpid()}"
    started, ended = runner.cells(NAMED.format(name=name), "while True: pass", limits=QUICK)
    assert (started.status, ended.status) == ("ok", "timeout")
    assert _named(name) == []


@pytest.mark.parametrize("ending", ["closed", "collected"])
def test_nothing_is_left_of_a_session(runner, monkeypatch, tmp_path, ending):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = f"{ending[:6]}-{os.getpid()}"

    async def execute():
        session = Session(isolation=runner.sandbox.isolation)
        await session.execute(NAMED.format(name=name) + "\nopen('a', 'w').close()")
        assert len(_named(name)) == 2
        if ending == "closed":
            await session.close()

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(execute())
    gc.collect()
    _wait(lambda: not _named(name))
    _wait(lambda: not list(tmp_path.iterdir()))
    _wait(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_no_process_survives_when_we_are_killed(runner):
    name = f"orphan-{os.getpid()}"
    program = f"""
        import asyncio, time
        from ocijax.sandbox import Session
        async def execute():
            session = Session(isolation={runner.sandbox.isolation!r})
            await session.execute({NAMED.format(name=name)!r})
            time.sleep(60)
        asyncio.run(execute())
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        _wait(lambda: len(_named(name)) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait(lambda: not _named(name))


def test_we_are_out_of_reach_between_cells(confined):
    cell = """
        import os
        [pid for pid in (os.getppid(), 1) if pid != 1], os.path.exists("/proc/self")
    """
    results = confined.cells(cell, cell)
    assert [result.stdout for result in results] == ["([], False)\n"] * 2


def _named(name):
    found = []
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            if place.read_text().strip() == name:
                found.append(place)
        except OSError:
            continue
    return found


def _wait(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
