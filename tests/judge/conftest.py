import asyncio
import textwrap

import pytest

from ocijax.judge.checker import check, run_public
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.sandbox import Limits, Sandbox, SandboxError

LIMITS = Limits(wall_seconds=20.0, cpu_seconds=60.0, memory_bytes=1 << 30)


@pytest.fixture(scope="session")
def sandbox():
    confined = Sandbox(LIMITS)
    try:
        asyncio.run(confined.run(""))
        return confined
    except SandboxError:
        return Sandbox(LIMITS, isolation="limits")


class Judge:
    """The checker, called without an event loop, on programs that may be indented."""

    def __init__(self, sandbox):
        self.sandbox = sandbox

    def check(self, task, program, *evaluator):
        return asyncio.run(check(self.sandbox, task, textwrap.dedent(program), *evaluator))

    def run_public(self, task, program):
        return asyncio.run(run_public(self.sandbox, task, textwrap.dedent(program)))


@pytest.fixture(scope="session")
def judge(sandbox):
    return Judge(sandbox)


def suite(*cases, **settings):
    """A suite of ``(arguments, expected)``."""
    return Suite(tuple(TestCase(arguments, expected) for arguments, expected in cases), **settings)


def task(base, plus=None, public=()):
    """A task to define ``f``."""
    suites = {"base": base} if plus is None else {"base": base, "plus": plus}
    public_tests = tuple(TestCase(arguments, expected) for arguments, expected in public)
    return Task("test/0", "Define f.", "f", public_tests=public_tests, suites=suites)
