"""Tests that run around a program in its own process."""

import textwrap

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Limits

RIGHT = "def add(a, b): return a + b\n"
WRONG = "def add(a, b): return a - b\n"

CHECK = """
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate(0, 0) == 0
    assert candidate(-5, 7) == 2
"""
ASSERTS = """
assert add(1, 2) == 3
assert add(0, 0) == 0
assert add(-5, 7) == 2
"""
CASES = """
import unittest
class Adding(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual(add(1, 2), 3)
        self.assertTrue(add(-5, 7) == 2)
    def test_zero(self):
        self.assertEqual(add(0, 0), 0)
if __name__ == "__main__":
    unittest.main()
"""
FORMS = pytest.mark.parametrize(
    ("tests", "entry_point"),
    [(CHECK, "add"), (ASSERTS, None), (CASES, None)],
    ids=["check", "asserts", "unittest"],
)

DECEIVED_BY = {
    "a value that is equal to everything": """
        class Any:
            def __eq__(self, other): return True
        def add(a, b): return Any()
    """,
    "a number whose own comparison lies": """
        class Lie(int):
            def __eq__(self, other): return True
        def add(a, b): return Lie(-1)
    """,
}
"""Wrong programs that pass: a value is compared as its class defines it, as the tests ask."""

NOT_DECEIVED_BY = {
    "leaving when loaded": "raise SystemExit(0)",
    "leaving when loaded, at once": "import os; os._exit(0)",
    "leaving when called": "def add(a, b): raise SystemExit(0)",
    "leaving when called, at once": "import os\ndef add(a, b): os._exit(0)",
    "leaving after a right answer": """
        import os
        calls = []
        def add(a, b):
            calls.append(1)
            return a + b if len(calls) == 1 else os._exit(0)
    """,
    "exceptions that are no errors": """
        def add(a, b): raise (KeyboardInterrupt if a else GeneratorExit)
    """,
    "skipping": """
        def add(a, b):
            import unittest
            if a: raise unittest.SkipTest("not today")
            return 0
    """,
    "printed verdicts": """
        import os
        def add(a, b):
            for line in ("passed", "OK", '{"passed": true}', "1 passed", "EXIT_CODE:0"):
                print(line, flush=True)
                os.write(2, line.encode())
            os._exit(0)
    """,
    "verdicts written to every descriptor": """
        import os
        def add(a, b):
            body = b'vt2;b10;0123456789abcdefl0;'
            for number in range(3, 64):
                try:
                    os.write(number, len(body).to_bytes(8, "big") + body)
                except OSError:
                    pass
            os._exit(0)
    """,
    "closed descriptors": """
        import os
        def add(a, b):
            os.closerange(0, 1024)
            return -1
    """,
    "changed built-in functions": """
        import builtins
        def lie(*arguments): return True
        def change():
            builtins.isinstance = builtins.all = builtins.AssertionError = lie
            builtins.len = builtins.abs = builtins.getattr = lie
            __builtins__["isinstance"] = lie
        change()
        def isinstance(value, kind): return True
        def add(a, b):
            change()
            return -77
    """,
    "a changed unittest": """
        import sys, unittest, unittest.case
        def nothing(self, *arguments, **named): pass
        def change():
            for module in (unittest, unittest.case):
                for name in dir(module.TestCase):
                    if name.startswith("assert"):
                        setattr(module.TestCase, name, nothing)
            unittest.TestCase.run = nothing
            unittest.TestResult.wasSuccessful = lambda self: True
            unittest.TestResult.addFailure = unittest.TestResult.addError = nothing
            unittest.TestLoader.loadTestsFromTestCase = lambda *_: unittest.TestSuite()
        change()
        def add(a, b):
            change()
            return -1
    """,
    "tests of its own": """
        import unittest
        def check(candidate): pass
        class Adding(unittest.TestCase):
            def test_numbers(self): pass
        assert True
    """,
    "expected values overwritten in the frames": """
        import sys
        def add(a, b):
            frame = sys._getframe(1)
            while frame is not None:
                for name, value in list(frame.f_locals.items()):
                    if isinstance(value, list) and name in ("expected", "outputs", "answers"):
                        value[:] = [None] * len(value)
                frame = frame.f_back
    """,
    "exceptions from a timer": """
        import signal
        def storm(number, frame): raise ValueError("from a timer")
        def add(a, b):
            signal.signal(signal.SIGALRM, storm)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            return -1
    """,
    "patched writing": """
        import os
        os.write = lambda number, data: len(data)
        def add(a, b): return 0
    """,
}


@FORMS
def test_a_right_program_passes(runner, tests, entry_point):
    result = runner.test(RIGHT, tests, entry_point)
    assert (result.status, result.failures) == ("ok", ())
    assert result.passed
    assert result.isolation == runner.sandbox.isolation


@FORMS
def test_a_wrong_program_fails_and_the_failure_shows_the_test(runner, tests, entry_point):
    result = runner.test(WRONG, tests, entry_point)
    assert not result.passed
    assert result.status == "error"
    assert "(1, 2)" in result.failures[0]
    assert 'File "<tests>"' in result.failures[0]
    assert "AssertionError" in result.failures[0]


@FORMS
@pytest.mark.parametrize("name", NOT_DECEIVED_BY)
def test_a_pass_is_not_had_by(runner, tests, entry_point, name):
    result = runner.test(NOT_DECEIVED_BY[name], tests, entry_point)
    assert not result.passed
    assert result.failures


@pytest.mark.parametrize("name", DECEIVED_BY)
def test_the_promise_says_what_the_other_mode_does_not_fall_for(runner, name):
    result = runner.test(DECEIVED_BY[name], CHECK, "add")
    assert result.passed
    assert result.promise == "in-process"
    program = textwrap.dedent(DECEIVED_BY[name]) + "f = add"
    assert runner.call(program, [(1, 2)]).outcomes[0].value != 3


@pytest.mark.parametrize(
    ("tests", "entry_point"),
    [
        ("", None),
        ("pass", "add"),
        ("for expected in []:\n    assert add(1, 2) == expected", None),
        ("def test_add():\n    assert add(1, 2) == 3", None),
        ("def check(candidate):\n    assert candidate(1, 2) == 3", None),
        ("import unittest\nclass Adding(unittest.TestCase): pass", None),
        (
            "import unittest\n@unittest.skip('later')\nclass Adding(unittest.TestCase):\n"
            "    def test_numbers(self): self.assertEqual(add(1, 2), 3)",
            None,
        ),
    ],
)
def test_no_test_is_no_pass(runner, tests, entry_point):
    result = runner.test(RIGHT, tests, entry_point)
    assert not result.passed
    assert "no test was run" in result.failures[0]


def test_every_failing_case_is_told(runner):
    failures = runner.test("def add(a, b): return a * b + 1", CASES).failures
    assert ["test_numbers" in failures[0], "test_zero" in failures[1]] == [True, True]
    assert "AssertionError: 1 != 0" in failures[1]


def test_what_unittest_offers_can_be_used(runner):
    tests = """
        import unittest
        from unittest import mock
        from program import ask
        class Asking(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.answers = ["yes", "no"]
            @mock.patch("builtins.input", return_value="yes")
            def test_built_in(self, asked):
                self.assertEqual(ask(), "YES")
                asked.assert_called_once()
            @mock.patch("program.ask", return_value="no")
            def test_name(self, asked):
                import program
                self.assertEqual(program.ask(), "no")
            def test_sub(self):
                for answer in self.answers:
                    with self.subTest(answer), mock.patch("builtins.input", lambda: answer):
                        self.assertEqual(ask(), answer.upper())
            @unittest.expectedFailure
            def test_known(self):
                self.assertEqual(ask.__name__, "tell")
            @unittest.skip("later")
            def test_later(self):
                self.fail()
        class Later(unittest.IsolatedAsyncioTestCase):
            async def test_async(self):
                self.assertTrue(callable(ask))
        unittest.main()
    """
    program = "import unittest, unittest.mock\ndef ask(): return input().upper()"
    result = runner.test(program, tests)
    assert result.failures == ()
    assert result.passed


def test_a_failure_in_the_fixture_of_a_class_is_a_failure(runner):
    tests = """
        import unittest
        class Adding(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.sum = add("1", 2)
            def test_numbers(self):
                self.assertEqual(self.sum, 3)
        assert add(1, 2) == 3
    """
    result = runner.test(RIGHT, tests)
    assert not result.passed
    assert "TypeError" in result.failures[0]


def test_the_entry_point_may_be_called_as_a_built_in_function(runner):
    program = "def sum(a, b): return a + b"
    assert runner.test(program, "assert sum(1, 2) == 3", "sum").passed


def test_other_names_of_the_program_do_not_hide_built_in_functions(runner):
    program = WRONG + "def abs(x): return 0\n"
    assert not runner.test(program, "assert abs(add(1, 2) - 3) < 1e-6").passed


def test_the_program_may_shadow_built_in_functions_for_itself(runner):
    program = "def max(a, b): return a + b\ndef add(a, b): return max(a, b)"
    assert runner.test(program, ASSERTS).passed


def test_a_program_without_the_entry_point_is_told_so(runner):
    result = runner.test("def plus(a, b): return a + b", CHECK, "add")
    assert result.failures == ("NameError: the program does not define add",)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("def add(:", 'File "<program>", line 1'),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("import os; os._exit(0)", "ended its process with exit status 0"),
    ],
)
def test_a_program_that_cannot_be_loaded_says_why(runner, program, text):
    result = runner.test(program, ASSERTS)
    assert result.status == "error"
    assert text in result.failures[0]


def test_tests_that_do_not_compile_are_no_pass(runner):
    result = runner.test(RIGHT, "assert add(1, 2) == (")
    assert 'File "<tests>", line 1' in result.failures[0]


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("while True: pass", "timeout"),
        ("def add(a, b):\n    while True: pass", "timeout"),
        ("def add(a, b):\n    while True: print('x' * 1000)", "output"),
        ("import os\ndef add(a, b): os.kill(os.getpid(), 9)", "killed"),
    ],
)
def test_each_limit_ends_the_tests(runner, program, status):
    limits = Limits(wall_seconds=1.5, output_bytes=8 << 10)
    result = runner.another(limits=limits).test(program, ASSERTS)
    assert (result.status, result.passed) == (status, False)


def test_threads_left_running_do_not_delay_the_verdict(runner):
    program = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    assert runner.test(program + RIGHT, ASSERTS).passed


def test_what_is_printed_is_kept(runner):
    result = runner.test("print('loaded')\n" + RIGHT, "assert add(1, 2) == 3\nprint('tested')")
    assert result.stdout == "loaded\ntested\n"


def test_files_are_there_for_both(runner):
    program = "text = open('in.txt').read()"
    tests = "assert open('in.txt').read() == text == 'x'"
    assert runner.test(program, tests, files={"in.txt": "x"}).passed
    with pytest.raises(InputError, match="inside the working directory"):
        runner.test(program, tests, files={"../in.txt": "x"})


def test_many_long_failures_are_cut(runner):
    tests = """
        import unittest
        class Adding(unittest.TestCase):
            pass
        for index in range(500):
            setattr(Adding, f"test_{index}", lambda self: self.fail("x" * 100_000))
    """
    failures = runner.test(RIGHT, tests).failures
    assert 0 < len(failures) <= 100
    assert all(len(failure) < 20_000 for failure in failures)


def test_tests_may_have_limits_of_their_own(runner):
    program = "def add(a, b):\n    while True: pass"
    assert runner.test(program, ASSERTS, wall_seconds=0.5).status == "timeout"
    result = runner.test(program, ASSERTS, wall_seconds=30.0, cpu_seconds=0.5)
    assert (result.status, result.wall_seconds < 20.0) == ("timeout", True)
