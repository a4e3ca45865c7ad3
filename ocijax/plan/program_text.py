"""The text of a compiled program as computations, and how often each of them runs."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Instruction:
    """One line: ``%name = result opcode(operands), attributes``.

    Attributes:
      name: unique in its computation.
      result: type of what it gives, a tuple's in parentheses.
      opcode: what it does.
      operands: what stands in its parentheses.
      attributes: what stands behind them.
    """

    name: str
    result: str
    opcode: str
    operands: str
    attributes: str

    @property
    def arrays(self) -> list[tuple[str, tuple[int, ...]]]:
        """Dtype and shape of each array of the result."""
        return [
            (dtype, tuple(int(size) for size in sizes.split(",") if size))
            for dtype, sizes in _ARRAY.findall(self.result)
        ]

    @property
    def inputs(self) -> list[str]:
        """Names of the instructions whose results it takes."""
        return _NAME.findall(self.operands)

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        return [name for names in _CALLED.findall(self.attributes) for name in _NAME.findall(names)]


Computation = Mapping[str, Instruction]
"""Instructions by name."""


@dataclass(frozen=True)
class Program:
    """A parsed text.

    Attributes:
      computations: by name.
      entry: the name of the one that runs first.
      devices: over which the program is split.
    """

    computations: Mapping[str, Computation]
    entry: str
    devices: int


def parse_program(text: str) -> Program:
    """The computations in `jax.stages.Compiled.as_text`."""
    header, *lines = text.splitlines()
    counts = re.findall(r"\b(?:replica_count|num_partitions)=(\d+)", header)
    computations: dict[str, dict[str, Instruction]] = {}
    entry = ""
    for line in lines:
        if begin := _COMPUTATION.match(line):
            instructions = computations[begin["name"]] = {}
            entry = begin["name"] if begin["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            instructions[found["name"]] = _instruction(found["name"], found["rest"])
    return Program(computations, entry, math.prod(map(int, counts)))


def executed(program: Program) -> Iterator[tuple[str, int]]:
    """Each computation with the times that one run of the program runs it, once for each caller.

    The body of a loop whose number of turns the text does not tell counts as one turn; of
    branches, each counts.
    """

    def walk(name: str, times: int) -> Iterator[tuple[str, int]]:
        computation = program.computations[name]
        yield name, times
        for instruction in computation.values():
            if instruction.opcode.endswith(("-update", "-done")):
                continue  # ran with its -start
            turns = 1
            if instruction.opcode == "while":
                turns = _turns(program, computation, instruction) or 1
            for called in instruction.called:
                yield from walk(called, times * turns)

    return walk(program.entry, 1)


_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|branch_computations|true_computation|false_computation)="
    r"(%[\w.-]+|\{[^}]*\})"
)
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%(?P<name>[\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%(?P<name>[\w.-]+) = (?P<rest>.+)")
_KNOWN_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def _instruction(name: str, rest: str) -> Instruction:
    """An instruction from what follows its name."""
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    result, rest = rest[:end], rest[end:].lstrip()
    begin = rest.index("(")
    end = _closing(rest, begin)
    return Instruction(name, result, rest[:begin], rest[begin + 1 : end - 1], rest[end:])


def _closing(text: str, begin: int) -> int:
    """The place behind the parenthesis that closes the one at ``begin``."""
    depth = 0
    for parenthesis in re.compile(r"[()]").finditer(text, begin):
        depth += 1 if parenthesis[0] == "(" else -1
        if not depth:
            return parenthesis.end()
    raise ValueError(f"no closing parenthesis in {text[begin:]!r}")


def _turns(program: Program, computation: Computation, loop: Instruction) -> int | None:
    """How often a loop turns, ``None`` where that cannot be told."""
    if known := _KNOWN_TURNS.search(loop.attributes):
        return int(known[1])
    # A TPU's text leaves it to the condition: counter < limit, counted up from a constant.
    (name,) = re.findall(r"\bcondition=%([\w.-]+)", loop.attributes)
    condition = program.computations[name]
    *_, root = condition.values()
    if root.opcode != "compare" or "direction=LT" not in root.attributes:
        return None
    counter, limit = (condition[name] for name in root.inputs)
    place = re.search(r"\bindex=(\d+)", counter.attributes)
    if limit.opcode != "constant" or counter.opcode != "get-tuple-element" or not place:
        return None
    carry = computation[loop.inputs[0]]
    start = computation[carry.inputs[int(place[1])]] if carry.opcode == "tuple" else None
    while start is not None and start.opcode == "copy":
        start = computation[start.inputs[0]]
    if start is None or start.opcode != "constant":
        return None
    return int(limit.operands) - int(start.operands)
