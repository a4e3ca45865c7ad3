"""What a compiled program moves between devices, read from its text.

The text is that of `jax.stages.Compiled.as_text`, for TPU, GPU or CPU. Four things in it are not
what they seem:

- The body of a loop is written once; what is in it counts as often as the loop turns.
- An asynchronous collective is written as ``-start`` and ``-done``; on a TPU it may be written
  again in each fusion that it runs beside. It counts once.
- A reduce-scatter of a TPU is a fusion named ``all-reduce-scatter`` of an all-reduce and a slice.
- What slices of a multi-slice TPU sum between them, each device sends to its host.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ocijax.plan.program_text import Computation, executed, parse_program

Kind = Literal[
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "between-slices",
]


@dataclass(frozen=True)
class Collective:
    """One array that a program moves between devices.

    Attributes:
      kind: how.
      dtype: XLA's name of it, such as ``bf16``.
      shape: of the array on a device where it is whole: what an all-gather gives, what a
        reduce-scatter takes.
      group_size: devices that share it; for a permutation, how many send; or how many slices.
      count: how often one run of the program does it.
    """

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    group_size: int
    count: int = 1

    @property
    def wire_bytes(self) -> int:
        """Bytes that a device sends each time, around a ring or to its host."""
        size = math.prod(self.shape) * _bits(self.dtype) // 8
        if self.kind in ("collective-permute", "between-slices"):
            return size
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * size * (self.group_size - 1) // self.group_size


def read_collectives(text: str) -> tuple[Collective, ...]:
    """All collectives of a compiled program, those that move most first.

    What Pallas kernels send by themselves is not in the text.

    Example::

      compiled = make_train_step(recipe, optimizer, mesh).lower(state, batch).compile()
      for one in read_collectives(compiled.as_text()):
        print(one.kind, one.dtype, one.shape, one.count * one.wire_bytes)

    Args:
      text: `jax.stages.Compiled.as_text`.

    Returns:
      One for each array; equal ones together, in their ``count``.
    """
    program = parse_program(text)
    counts: Counter[Collective] = Counter()
    for name, times in executed(program):
        for collective in _collectives(name, program.computations[name], program.devices):
            counts[collective] += times
    found = (replace(collective, count=count) for collective, count in counts.items())
    return tuple(sorted(found, key=lambda one: -one.count * one.wire_bytes))


def wire_bytes_by_kind(collectives: Iterable[Collective]) -> dict[Kind, int]:
    """Bytes that a device sends in one run of the program, by kind, most first."""
    sums: Counter[Kind] = Counter()
    for collective in collectives:
        sums[collective.kind] += collective.count * collective.wire_bytes
    return dict(sums.most_common())


def _collectives(name: str, computation: Computation, devices: int) -> Iterator[Collective]:
    """What a computation itself moves."""
    begins = any("AsyncCollectiveStart" in one.attributes for one in computation.values())
    for instruction in computation.values():
        slices = re.search(r'megascale_target="\{(.*?)\}', instruction.attributes)
        if slices and instruction.opcode == "send":
            (dtype, shape), *_ = instruction.arrays
            yield Collective("between-slices", dtype, shape, _counted(slices[1]))
        kind = instruction.opcode.removesuffix("-done")
        if kind not in get_args(Kind) or ("chain_id=" in instruction.attributes and not begins):
            continue
        # What it gives stands at -done, all else at -start.
        start = instruction if kind == instruction.opcode else computation[instruction.inputs[0]]
        group_size = _group_size(kind, start.attributes, devices)
        fused = kind == "all-reduce" and name.startswith("all-reduce-scatter")
        for dtype, shape in instruction.arrays:
            if kind == "reduce-scatter":
                shape = _whole(shape, start.attributes, group_size)
            yield Collective("reduce-scatter" if fused else kind, dtype, shape, group_size)


def _whole(part: tuple[int, ...], attributes: str, group_size: int) -> tuple[int, ...]:
    """The shape that a reduce-scatter takes, from that of the part it gives."""
    (dimension,) = re.findall(r"\bdimensions=\{(\d+)\}", attributes)
    return tuple(
        size * group_size if place == int(dimension) else size for place, size in enumerate(part)
    )


def _group_size(kind: Kind, attributes: str, devices: int) -> int:
    """How many devices share an array."""
    if kind == "collective-permute":
        return attributes.partition("source_target_pairs={")[2].partition("}}")[0].count("{")
    groups = attributes.partition("replica_groups=")[2]
    if listed := re.match(r"\{\{([\d,]+)\}", groups):  # {{0,1},{2,3}}
        return listed[1].count(",") + 1
    if counted := re.match(r"\[\d+,(\d+)\]", groups):  # [2,2]<=[4]
        return int(counted[1])
    if named := re.match(r"mesh\[(.*?)\] ?\{(.*?)\}", groups):  # mesh['a'=2,'b'=2] {'b'}
        sizes = dict(re.findall(r"('\w+')=(\d+)", named[1]))
        parts = re.findall(r"('\w+')(?::\(\d+\)(\d+))?", named[2])  # {'b':(1)2}: a part of b
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    return devices


def _counted(numbers: str) -> int:
    """How many numbers these are: ``1,2``, or ``0:3``, which is four."""
    ends = (part.partition(":") for part in numbers.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)


def _bits(dtype: str) -> int:
    """Of one element: the first number in the dtype's name, but for booleans."""
    return 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
