import asyncio
import textwrap

import pytest

from ocijax.sandbox import Limits, Sandbox, SandboxError, Session
from tests.sandbox import arena

SMALL = Limits(
    wall_seconds=3.0,
    cpu_seconds=10.0,
    memory_bytes=512 << 20,
    file_bytes=32 << 20,
    processes=24,
    output_bytes=64 << 10,
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skips what wants an arena where the host allows none: its programs may run nowhere else."""
    try:
        return (yield)
    except arena.Unavailable as reason:
        pytest.skip(f"no arena: {reason}")


class Runner:
    """A sandbox called without an event loop; programs may be indented."""

    def __init__(self, **settings):
        self.sandbox = Sandbox(**({"limits": SMALL} | settings))

    def another(self, **settings):
        return Runner(isolation=self.sandbox.isolation, **settings)

    def run(self, program, **arguments):
        return asyncio.run(self.sandbox.run(textwrap.dedent(program), **arguments))

    def call(self, program, inputs, **arguments):
        program = textwrap.dedent(program)
        return asyncio.run(self.sandbox.call(program, "f", inputs, **arguments))

    def test(self, program, tests, entry_point=None, **arguments):
        programs = map(textwrap.dedent, (program, tests))
        return asyncio.run(self.sandbox.test(*programs, entry_point, **arguments))

    def cells(self, *cells, **settings):
        """What a session gives for each of ``cells``."""

        async def execute():
            settings.setdefault("limits", SMALL)
            async with Session(isolation=self.sandbox.isolation, **settings) as session:
                return [await session.execute(textwrap.dedent(cell)) for cell in cells]

        return asyncio.run(execute())

    def value(self, program, *arguments):
        """What ``f(*arguments)`` gives; fails the test where it gives nothing."""
        result = self.call(program, [arguments])
        assert result.load.status == "ok", result.load.error
        assert result.outcomes[0].status == "ok", result.outcomes[0].error
        return result.outcomes[0].value


def _usable():
    try:
        return Runner().run("").status == "ok"
    except SandboxError:
        return False


@pytest.fixture(scope="session")
def confined():
    if not _usable():
        pytest.skip("this host forbids namespaces")
    return Runner()


@pytest.fixture(scope="session", params=["namespaces", "limits"])
def runner(request):
    if request.param == "namespaces" and not _usable():
        pytest.skip("this host forbids namespaces")
    return Runner(isolation=request.param)
