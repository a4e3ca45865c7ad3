"""Runs many small programs over the same inputs, each once, in the sandbox."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ocijax.sandbox.sandbox import Sandbox
from ocijax.tasks.grammar import ENTRY_POINT

_PROGRAMS_A_PROCESS = 500

_SOURCE = """\
INPUTS = {inputs!r}


def outputs(program):
    namespace = {{}}
    exec(program, namespace)
    return [namespace[{entry_point!r}](list(numbers)) for numbers in INPUTS]
"""


async def run_programs(
    sandbox: Sandbox, programs: Sequence[str], inputs: Sequence[list[int]]
) -> dict[str, list[Any]]:
    """What each program gives for each input.

    Programs share a process, hundreds at a time: they are the task generator's own.

    Args:
      sandbox: where they run.
      programs: sources that define the entry point; none fails on any input.
      inputs: lists of numbers.

    Returns:
      By program, its outputs in the order of the inputs.

    Raises:
      RuntimeError: a program failed; the message is its error.
    """
    source = _SOURCE.format(inputs=list(inputs), entry_point=ENTRY_POINT)
    chunks = [
        programs[start : start + _PROGRAMS_A_PROCESS]
        for start in range(0, len(programs), _PROGRAMS_A_PROCESS)
    ]
    results = await asyncio.gather(
        *(sandbox.call(source, "outputs", [(program,) for program in chunk]) for chunk in chunks)
    )
    outputs = {}
    for chunk, result in zip(chunks, results, strict=True):
        for program, outcome in zip(chunk, result.outcomes, strict=True):
            if outcome.status != "ok":
                raise RuntimeError(f"a generated program failed: {outcome.error}\n{program}")
            outputs[program] = outcome.value
    return outputs
