"""Functions called on inputs."""

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Digest, Limits, Sandbox, digest


def test_each_input_has_its_outcome(runner):
    program = """
        def f(a, b):
            if b == 0:
                raise ValueError("no")
            return a / b
    """
    result = runner.call(program, [(1, 2), (1, 0), (4.0, -2)])
    assert [outcome.status for outcome in result.outcomes] == ["ok", "error", "ok"]
    assert [outcome.value for outcome in result.outcomes] == [0.5, None, -2.0]
    error = result.outcomes[1].error
    assert error.startswith('Traceback (most recent call last):\n  File "<program>", line 4, in f')
    assert error.endswith("ValueError: no")
    assert result.isolation == runner.sandbox.isolation


def test_the_program_is_not_the_main_module(runner):
    program = """
        if __name__ == "__main__":
            raise SystemExit("ran as a script")
        from dataclasses import dataclass
        @dataclass
        class Pair:
            left: int
        def f():
            return Pair(3).left
    """
    assert runner.value(program) == 3


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("g = 1", "NameError: the program does not define f"),
        ("f = 1", "TypeError: f is a int, not a function"),
        ("def f(:", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "the program ended its process with exit status 0"),
        ("import os; os.abort()", "ended by signal SIGABRT"),
        ("None.f", "AttributeError"),
    ],
)
def test_a_program_that_cannot_be_loaded_says_why(runner, program, text):
    result = runner.call(program, [()])
    assert result.load.status in ("error", "killed")
    assert text in result.load.error
    assert result.outcomes == ()


@pytest.mark.parametrize(
    ("statement", "status", "text"),
    [
        ("os._exit(0)", "error", "exit status 0"),
        ("os.kill(os.getpid(), 9)", "killed", "SIGKILL"),
        ("ctypes.string_at(0)", "killed", "SIGSEGV"),
        ("time.sleep(60)", "timeout", "out of time"),
        ("[open(3, 'wb', closefd=False).write(b'\\xff' * 9999)]", "error", "channel"),
    ],
)
def test_what_ends_the_process_is_the_outcome_of_the_input_it_happened_at(
    runner, statement, status, text
):
    program = (
        f"import ctypes, os, time\ndef f(x):\n    if x == 1:\n        {statement}\n    return x"
    )
    result = runner.call(program, [(0,), (1,), (2,)], wall_seconds=1.0)
    assert [outcome.status for outcome in result.outcomes] == ["ok", status]
    assert text in result.outcomes[1].error


def test_leaving_by_exception_does_not_end_the_calls(runner):
    program = """
        import sys
        def f(x):
            if x == 0: sys.exit(0)
            if x == 1: raise KeyboardInterrupt
            if x == 2: raise GeneratorExit
            if x == 3: raise MemoryError
            return x
    """
    result = runner.call(program, [(index,) for index in range(5)])
    statuses = [outcome.status for outcome in result.outcomes]
    assert statuses == ["error", "error", "error", "memory", "ok"]
    assert result.outcomes[0].error.endswith("SystemExit: 0")


def test_the_wall_limit_is_of_each_input(runner):
    program = "import time\ndef f(x):\n    time.sleep(x)\n    return x"
    result = runner.call(program, [(0.3,), (0.3,), (0.3,)], wall_seconds=[2.0, 0.1, 2.0])
    assert [outcome.status for outcome in result.outcomes] == ["ok", "timeout"]
    result = runner.call(program, [(0.4,)] * 4, wall_seconds=1.2)
    assert [outcome.status for outcome in result.outcomes] == ["ok"] * 4


def test_the_cpu_limit_is_of_each_input_and_passes_while_the_program_waits_for_a_cpu(runner):
    program = """
        import time
        def f(spin, sleep):
            time.sleep(sleep)
            began = time.process_time()
            while time.process_time() - began < spin: pass
            return spin
    """
    inputs = [(0.3, 0.0), (0.3, 0.8), (0.3, 0.0), (600.0, 0.0)]
    outcomes = runner.call(program, inputs, wall_seconds=60.0, cpu_seconds=0.6).outcomes
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "ok", "timeout"]
    assert sum(outcome.cpu_seconds for outcome in outcomes[:3]) > 0.8


def test_the_wall_limit_ends_what_the_cpu_limit_does_not(runner):
    program = "import time\ndef f(): time.sleep(600)"
    [outcome] = runner.call(program, [()], wall_seconds=0.5, cpu_seconds=0.2).outcomes
    assert outcome.status == "timeout"


@pytest.fixture
def crowded_core():
    """Pins what the test starts to one core, which nine others want too."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    spin = [sys.executable, "-c", "while True: pass"]
    # Each in a session of its own, as the kernel may give each session the same share.
    others = [subprocess.Popen(spin, start_new_session=True) for _ in range(9)]
    yield
    os.sched_setaffinity(0, allowed)
    for other in others:
        other.kill()
        other.wait()


@pytest.mark.skipif(
    not os.path.exists("/proc/self/schedstat"), reason="the kernel counts no waiting for a CPU"
)
def test_where_the_cpu_is_limited_waiting_for_it_does_not_count_by_the_clock(runner, crowded_core):
    program = """
        import time
        def f(idle):
            began = time.process_time()
            while time.process_time() - began < 0.2: pass
            time.sleep(idle)
    """
    # The nine leave a tenth of the core: 0.2 s on it take some 2 s by the clock.
    another = runner.another()
    outcomes = another.call(program, [(0.0,), (5.0,)], wall_seconds=1.0, cpu_seconds=0.8).outcomes
    assert [outcome.status for outcome in outcomes] == ["ok", "timeout"]
    assert outcomes[0].wall_seconds > 1.0


def test_a_value_of_a_built_in_type_itself_is_told_from_one_that_is_only_like_it(runner):
    program = """
        from fractions import Fraction
        class Whole(int): pass
        def f(i): return [1, Whole(1), True, Fraction(1), {}.keys(), [Whole(1)]][i]
    """
    outcomes = runner.call(program, [(index,) for index in range(6)]).outcomes
    assert [outcome.plain for outcome in outcomes] == [True, False, True, False, False, True]


def test_a_limit_for_each_input_is_wanted(runner):
    with pytest.raises(InputError, match="2 time limits for 1 inputs"):
        runner.call("", [()], wall_seconds=[1.0, 2.0])


def test_calls_stop_when_told(runner):
    seen = []
    result = runner.call(
        "def f(x): return x",
        [(index,) for index in range(1000)],
        stop=lambda index, outcome: seen.append((index, outcome.value)) or outcome.value == 3,
    )
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert len(result.outcomes) == 4


def test_what_was_seen_already_need_not_be_kept(runner):
    result = runner.call(
        "def f(x): return 1 // x",
        [(1,), (0,), (1,)],
        stop=lambda index, outcome: index == 2,
        keep=False,
    )
    assert [outcome.status for outcome in result.outcomes] == ["ok", "error", "ok"]
    assert [outcome.value for outcome in result.outcomes] == [None, None, 1]
    assert "ZeroDivisionError" in result.outcomes[1].error


def test_what_is_printed_stays_apart_from_the_answers(runner):
    result = runner.call("def f(x):\n    print('seen', x)\n    return x", [(1,), (2,)])
    assert result.stdout == "seen 1\nseen 2\n"
    assert [outcome.value for outcome in result.outcomes] == [1, 2]


def test_inputs_cross_by_value(runner):
    values = ([1, (2.5, None)], {"a": {1, 2}}, b"x", -(10**5000), "\ud800")
    assert runner.value("def f(*x): return x", *values) == values


def test_an_input_that_is_no_plain_data_is_refused(runner):
    with pytest.raises(InputError, match="input 1 holds what is no plain data"):
        runner.call("def f(x): return x", [(1,), ([object()],)])


def test_a_large_answer_comes_as_its_digest(runner):
    answer = runner.value("def f(n): return ['x' * n, 1]", 20_000_000)
    assert isinstance(answer, Digest)
    assert answer == digest(["x" * 20_000_000, 1])


def test_a_long_message_is_cut_and_a_strange_one_escaped(runner):
    program = """
        def f(x):
            if x:
                raise ValueError("y" * 10_000_000)
            raise type("E\\ud800", (Exception,), {})("\\ud800\\x00")
    """
    strange, long = runner.call(program, [(0,), (1,)]).outcomes
    assert "\\ud800" in strange.error
    strange.error.encode()
    assert len(long.error) < 10_000


def test_a_deep_recursion_shows_its_ends(runner):
    result = runner.call("def f(x): return g(x)\ndef g(x): return f(x)", [(0,)])
    assert "RecursionError" in result.outcomes[0].error
    assert "more calls" in result.outcomes[0].error
    assert len(result.outcomes[0].error) < 5000


def test_many_calls_run_at_once_and_alone(runner):
    async def all_of_them():
        program = "def f(x): return x * 2"
        calls = [runner.sandbox.call(program, "f", [(index,)]) for index in range(40)]
        return await asyncio.gather(*calls)

    results = asyncio.run(all_of_them())
    assert [result.outcomes[0].value for result in results] == [2 * index for index in range(40)]


def test_a_cancelled_call_leaves_room_for_the_next(runner):
    async def cancel():
        task = asyncio.create_task(runner.sandbox.run("while True: pass"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert runner.run("print(1)").stdout == "1\n"


def test_named_packages_can_be_imported_and_others_cannot(runner):
    runner = runner.another(packages=["numpy"], limits=Limits())
    assert runner.value("import numpy\ndef f(): return numpy.arange(3).sum()") == 3
    assert "ModuleNotFoundError" in runner.call("import pytest", [()]).load.error


def test_a_package_that_is_not_installed_is_refused():
    with pytest.raises(InputError, match="not installed"):
        Sandbox(packages=["nothing_of_that_name"])


def test_answers_together_are_bounded_too(runner):
    program = "def f(n): return 'x' * n"
    large = 15 << 20
    outcomes = runner.call(program, [(large,)] * 20 + [(1000,)], wall_seconds=60).outcomes
    kinds = [type(outcome.value) for outcome in outcomes]
    assert kinds == [str] * 18 + [Digest] * 2 + [str]
    assert outcomes[18].value == digest("x" * large)


def test_long_lines_of_the_program_do_not_swell_the_traceback(runner):
    program = "def f(): return 1 / 0 #" + "ü" * 100_000
    (outcome,) = runner.call(program, [()]).outcomes
    assert outcome.error.endswith("ZeroDivisionError: division by zero")
    assert len(outcome.error) < 13_000


def test_a_method_is_called_on_a_new_instance_each_time(runner):
    program = """
        class f:
            def __init__(self): self.calls = 0
            def double(self, x):
                self.calls += 1
                return [x + x, self.calls]
    """
    result = asyncio.run(runner.sandbox.call(textwrap.dedent(program), "f().double", [(1,), (2,)]))
    assert [outcome.value for outcome in result.outcomes] == [[2, 1], [4, 1]]


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("def g(x): return x", "NameError: the program does not define f"),
        ("class f: pass", "AttributeError: 'f' object has no attribute 'double'"),
    ],
)
def test_a_missing_class_or_method_is_named(runner, program, error):
    result = asyncio.run(runner.sandbox.call(program, "f().double", [(1,)]))
    assert error in (result.load, *result.outcomes)[-1].error
