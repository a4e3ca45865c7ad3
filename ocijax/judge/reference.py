"""What a reference solution gives, computed once in the sandbox and kept on disk.

Kept in ``$OCIJAX_CACHE`` (``~/.cache/ocijax`` by default), which no program in namespaces can
reach, in the closed encoding of the sandbox: reading it can run nothing. By version of the data
and of Python, as both decide what comes out.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ocijax.errors import InputError
from ocijax.judge.checker import VALUE_BYTES
from ocijax.judge.compare import is_right, tolerances
from ocijax.judge.task import TestCase
from ocijax.sandbox.encoding import EncodingError, decode, encode
from ocijax.sandbox.result import Outcome
from ocijax.sandbox.sandbox import Sandbox
from ocijax.whole_file import whole_file

_TIMED = """

def _timed(*arguments):
    import time
    begin = time.process_time()
    {entry_point}(*arguments)
    return time.process_time() - begin
"""
_SECONDS_FOR_REFERENCE = 300.0
_SECONDS_FOR_SHOWN = 10.0


class Reference:
    """One task's reference solution.

    Args:
      sandbox: runs it.
      program: Python source.
      entry_point: function that it defines.
      version: of the data.
      task_id: unique in the data.
    """

    def __init__(
        self, sandbox: Sandbox, program: str, entry_point: str, version: str, task_id: str
    ):
        self._sandbox = sandbox
        self._program = program
        self._entry_point = entry_point
        self._task_id = task_id
        root = Path(os.environ.get("OCIJAX_CACHE") or Path.home() / ".cache" / "ocijax")
        python = ".".join(map(str, sys.version_info[:2]))
        self._folder = root / "reference" / f"{version}-python{python}"

    async def outputs(
        self, inputs: Sequence[tuple[Any, ...]]
    ) -> tuple[list[Any], tuple[float, ...]]:
        """Its output for each of the data's inputs, and the seconds on a CPU that each takes.

        Raises:
          InputError: it fails on one, or the result cannot be kept.
        """
        return await _kept(
            self._path("outputs"), len(inputs), lambda: self._compute_outputs(inputs)
        )

    async def _compute_outputs(self, inputs):
        outcomes = await self._call(self._program, self._entry_point, inputs)
        # An answer that we read late has the next one's time as well, which then seems to take
        # none: what the program itself can say of its time keeps that from being its limit.
        timed = self._program + _TIMED.format(entry_point=self._entry_point)
        said = [outcome.value for outcome in await self._call(timed, "_timed", inputs)]
        seen = [outcome.cpu_seconds for outcome in outcomes]
        return [outcome.value for outcome in outcomes], tuple(map(max, seen, said))

    async def _call(self, program: str, function: str, inputs) -> Sequence[Outcome]:
        result = await self._sandbox.call(
            program,
            function,
            inputs,
            wall_seconds=_SECONDS_FOR_REFERENCE,
            value_bytes=VALUE_BYTES,
            stop=lambda index, outcome: outcome.status != "ok",
        )
        last = (result.load, *result.outcomes)[-1]
        if last.status != "ok" or len(result.outcomes) < len(inputs):
            raise InputError(
                f"{self._task_id}: its canonical solution fails ({last.status}: "
                f"{last.error.strip()[-200:]!r}); the file is damaged or the limits too low"
            )
        return result.outcomes

    async def holding(self, tests: Sequence[TestCase], oracle: str, atol: float) -> list[TestCase]:
        """Those of ``tests`` that it passes."""
        if not tests:
            return []
        key = (oracle, atol, [(test.arguments, test.expected) for test in tests])
        holds = await _kept(
            self._path("shown"), key, lambda: self._compute_holding(tests, oracle, atol)
        )
        return [test for test, right in zip(tests, holds, strict=True) if right]

    async def _compute_holding(self, tests, oracle, atol):
        result = await self._sandbox.call(
            self._program,
            self._entry_point,
            [test.arguments for test in tests],
            wall_seconds=_SECONDS_FOR_SHOWN,
        )
        near = tolerances(atol, [test.expected for test in tests])
        holds = [
            outcome.status == "ok"
            and is_right(test, outcome.value, oracle, tolerance, outcome.plain)
            for test, tolerance, outcome in zip(tests, near, result.outcomes, strict=False)
        ]
        return holds + [False] * (len(tests) - len(holds))

    def _path(self, what: str) -> Path:
        return self._folder / f"{self._task_id.replace('/', '-')}.{what}"


async def _kept(path: Path, key: Any, compute: Callable[[], Awaitable[Any]]) -> Any:
    """What ``compute`` gives; from the file, where it was computed for the same key before."""
    try:
        known, value = decode(path.read_bytes())
        if known == key:
            return value
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, EncodingError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}): remove it") from error
    value = await compute()
    try:
        with whole_file(path, "wb") as file:
            file.write(encode((key, value)))
    except InputError as error:
        raise InputError(f"{error}; set OCIJAX_CACHE to a folder that can be written") from error
    return value
