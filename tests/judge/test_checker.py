import dataclasses

import pytest

from ocijax.judge.task import TestCase
from ocijax.sandbox import Limits, Sandbox
from tests.judge.conftest import suite, task

SQUARES = task(suite(((2,), 4), ((3,), 9)), plus=suite(((-4,), 16), ((10**20,), 10**40)))


def test_a_right_program_passes_every_suite(judge):
    verdict = judge.check(SQUARES, "def f(x): return x * x")
    assert {name: one.status for name, one in verdict.suites.items()} == {
        "base": "pass",
        "plus": "pass",
    }
    assert (verdict.passed_base, verdict.passed_plus) == (True, True)


def test_a_wrong_output_fails_with_its_case_and_value(judge):
    verdict = judge.check(SQUARES, "def f(x): return x * x if x < 3 else 8")
    base = verdict.suites["base"]
    assert (base.status, base.case, base.outcome.value) == ("fail", TestCase((3,), 9), 8)
    assert (verdict.passed_base, verdict.passed_plus) == (False, False)


def test_nothing_is_tested_after_the_first_failure(judge):
    program = """
        def f(x):
            if x == 3:
                import time
                time.sleep(600)
            return 0
    """
    verdict = judge.check(SQUARES, program)
    assert verdict.suites["base"].case == TestCase((2,), 4)
    assert verdict.suites["plus"].status == "untested"


def test_base_can_pass_where_plus_fails(judge):
    verdict = judge.check(SQUARES, "def f(x): return abs(x) * x")
    assert (verdict.passed_base, verdict.passed_plus) == (True, False)
    assert verdict.suites["plus"].case == TestCase((-4,), 16)


def test_a_task_without_plus_tests_has_no_plus_verdict(judge):
    verdict = judge.check(task(suite(((2,), 4))), "def f(x): return 4")
    assert (verdict.passed_base, verdict.passed_plus) == (True, None)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("def f(x): return x +", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def g(x): return x * x", "does not define f"),
        ("f = 4", "not a function"),
    ],
)
def test_a_program_that_cannot_be_loaded_fails_every_suite(judge, program, error):
    for verdict in judge.check(SQUARES, program).suites.values():
        assert (verdict.status, verdict.case) == ("fail", None)
        assert error in verdict.outcome.error


def test_an_exception_fails_with_its_traceback(judge):
    base = judge.check(SQUARES, "def f(x): return [][x]").suites["base"]
    assert base.status == "fail"
    assert base.outcome.error.endswith("IndexError: list index out of range")
    assert "return [][x]" in base.outcome.error


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f(x):\n    while True: pass", "timeout"),
        ("def f(x):\n    import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crash"),
        ("def f(x): return len(bytearray(8 << 30))", "crash"),
        ("def f(x):\n    import os; os._exit(0)", "fail"),
        ("def f(x):\n    raise SystemExit(0)", "fail"),
    ],
)
def test_no_output_is_told_apart_from_a_wrong_one(judge, program, status):
    assert judge.check(SQUARES, program).suites["base"].status == status


def test_a_hang_while_loading_is_a_timeout(judge):
    quick = Sandbox(Limits(wall_seconds=1.0), judge.sandbox.isolation)
    verdict = type(judge)(quick).check(SQUARES, "while True: pass")
    assert {one.status for one in verdict.suites.values()} == {"timeout"}


def test_a_slow_reference_gives_its_inputs_more_time(judge):
    program = """
        import time
        def f(x):
            began = time.process_time()
            while time.process_time() - began < 1.2: pass
            return x
    """
    base = suite(((1,), 1))
    assert judge.check(task(base), program).suites["base"].status == "timeout"
    slow = dataclasses.replace(base, seconds=(1.0,))
    assert judge.check(task(slow), program).passed_base


def test_waiting_for_a_cpu_is_no_running_out_of_time(judge):
    program = """
        import time
        def f(x):
            time.sleep(2)
            return x
    """
    assert judge.check(task(suite(((1,), 1))), program).passed_base


def test_the_tolerance_of_the_suite_counts(judge):
    program = "def f(x): return x + 1e-5"
    assert judge.check(task(suite(((1.0,), 1.0), atol=1e-4)), program).passed_base
    assert not judge.check(task(suite(((1.0,), 1.0))), program).passed_base


def test_the_oracle_of_the_suite_counts(judge):
    base = suite((([1, 2],), [1, 2]), oracle="same_set")
    assert judge.check(task(base), "def f(x): return x[::-1]").passed_base


def test_each_call_has_arguments_of_its_own(judge):
    shared = [1, 2]
    base = suite(((shared,), 2), ((shared,), 2))
    program = "def f(x): x.append(3); return len(x) - 1"
    assert judge.check(task(base), program).passed_base


@pytest.mark.parametrize(
    "program",
    [
        "class Liar:\n    def __eq__(self, other): return True\ndef f(x): return Liar()",
        "class Liar(int):\n    def __eq__(self, other): return True\n"
        "    __hash__ = int.__hash__\ndef f(x): return Liar(5)",
        "class Liar(list):\n    def __eq__(self, other): return True\ndef f(x): return Liar()",
        "class Liar(float):\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n"
        "    def __float__(self): return 4.0\ndef f(x): return Liar(5)",
    ],
)
def test_an_object_that_calls_itself_equal_is_wrong(judge, program):
    assert judge.check(SQUARES, program).suites["base"].status == "fail"


def test_expected_values_are_nowhere_in_the_process(judge):
    program = """
        import gc, sys
        wanted = " ".join(["expected", "secret"])
        def f(x):
            seen, todo = set(), [*gc.get_objects(), sys._getframe()]
            while todo:
                one = todo.pop()
                if id(one) in seen:
                    continue
                seen.add(id(one))
                if type(one) in (str, bytes) and len(one) < 10**6:
                    text = one if type(one) is str else one.decode("latin-1")
                    if wanted in text and one is not wanted:
                        return wanted
                else:
                    todo += gc.get_referents(one)
            return "nothing"
    """
    base = suite(((0,), "expected secret"))
    assert judge.check(task(base), program).suites["base"].outcome.value == "nothing"


def test_printing_an_answer_is_not_giving_it(judge):
    program = """
        import os, sys
        def f(x):
            for text in (str(x * x), "ok", "pass", "exit 0"):
                print(text)
                for descriptor in range(1, 32):
                    try:
                        os.write(descriptor, text.encode())
                    except OSError:
                        pass
            os._exit(0)
    """
    assert not judge.check(SQUARES, program).passed_base


def test_public_tests_that_pass_leave_no_failure(judge):
    shown = task(suite(((2,), 4)), public=[((1,), 1), ((3,), 9)])
    result = judge.run_public(shown, "def f(x): print(x); return x * x")
    assert (result.passed, result.failure, result.stdout) == (True, None, "1\n3\n")


def test_the_first_public_failure_comes_with_what_it_gave(judge):
    shown = task(suite(((2,), 4)), public=[((1,), 1), ((3,), 9), ((4,), 16)])
    result = judge.run_public(shown, "def f(x): print(x); return 1")
    case, outcome = result.failure
    assert (case, outcome.value) == (TestCase((3,), 9), 1)
    assert not result.passed
    assert result.stdout.startswith("1\n3\n")


def test_public_tests_are_judged_like_the_base_suite(judge):
    shown = task(suite((([1, 2],), [1, 2]), oracle="same_set"), public=[(([3, 4],), [3, 4])])
    assert judge.run_public(shown, "def f(x): return x[::-1]").passed


def test_without_public_tests_a_program_passes_that_can_be_loaded(judge):
    assert judge.run_public(SQUARES, "def f(x): return 0").passed
    result = judge.run_public(SQUARES, "def g(x): return 0")
    assert not result.passed
    assert "does not define f" in result.load.error


def test_as_evalplus_every_suite_is_judged_whatever_became_of_the_one_before(judge):
    verdict = judge.check(SQUARES, "def f(x): return x * x if x != 3 else 8", "evalplus-0.3.1")
    assert (verdict.suites["base"].status, verdict.suites["plus"].status) == ("fail", "pass")
    assert verdict.suites["base"].case == TestCase((3,), 9)
    assert (verdict.passed_base, verdict.passed_plus) == (False, False)


def test_as_evalplus_every_suite_has_a_process_of_its_own(judge):
    program = """
        calls = []
        def f(x):
            calls.append(x)
            return x * x if len(calls) < 3 else 0
    """
    assert not judge.check(SQUARES, program).passed_plus
    assert judge.check(SQUARES, program, "evalplus-0.3.1").passed_plus


def test_as_evalplus_no_root_is_ever_right(judge):
    base = suite((([-1.0, 1.0],), 1.0), oracle="root", atol=1e-4)
    program = "def f(coefficients): return 1.0"
    assert judge.check(task(base), program).passed_base
    assert judge.check(task(base), program, "evalplus-0.3.1").suites["base"].status == "fail"


def test_as_evalplus_a_program_that_cannot_be_loaded_fails_every_suite(judge):
    verdict = judge.check(SQUARES, "def f(x) return x", "evalplus-0.3.1")
    assert [one.status for one in verdict.suites.values()] == ["fail", "fail"]


def test_as_evalplus_a_program_may_not_wait(judge):
    program = """
        import time
        def f(x):
            time.sleep(2.5)
            return x * x
    """
    quick = task(suite(((2,), 4)))
    assert judge.check(quick, program).passed_base
    assert judge.check(quick, program, "evalplus-0.3.1").suites["base"].status == "timeout"


@pytest.mark.soak
def test_as_evalplus_a_suite_has_a_minute(judge):
    program = """
        import time
        def f(x):
            began = time.process_time()
            while time.process_time() - began < 0.9: pass
            return x
    """
    slow = task(suite(*(((number,), number) for number in range(80))))
    patient = type(judge)(Sandbox(Limits(cpu_seconds=600.0), judge.sandbox.isolation))
    assert patient.check(slow, program).passed_base
    assert patient.check(slow, program, "evalplus-0.3.1").suites["base"].status == "timeout"
