"""What others published on these benchmarks: the paper's tables and later figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Scores = tuple[float | None, float | None]
"""Pass@1 in percent with the base tests, and with base and plus tests; ``None``: not published."""


@dataclass(frozen=True)
class Source:
    """Where figures are from.

    Attributes:
      name: what it is called.
      address: where it can be read.
      note: how it measured, where that matters.
    """

    name: str
    address: str
    note: str


@dataclass(frozen=True)
class PublishedRow:
    """How a model did.

    Attributes:
      group: as the source groups models, by size mostly.
      model: its name there.
      size: its parameters, or nothing.
      protocol: as `ocijax.report.protocols` lists them, or ``other``.
      source: where it is from.
      humaneval: on HumanEval and HumanEval+.
      mbpp: on MBPP and MBPP+.
      average: of the two benchmarks, as published.
      mbpp_version: of MBPP+, ``unstated`` where the source does not say.
    """

    group: str
    model: str
    protocol: str
    source: Source
    size: str = ""
    humaneval: Scores = (None, None)
    mbpp: Scores = (None, None)
    average: Scores = (None, None)
    mbpp_version: str = ""


@dataclass(frozen=True)
class Release:
    """A benchmark as it was released once.

    Attributes:
      version: its number.
      tasks: how many it has.
      source: where the file is from.
    """

    version: str
    tasks: int
    source: str


@cache
def _data() -> dict:
    return json.loads(Path(__file__).with_name("published.json").read_text())


def published_rows() -> Sequence[PublishedRow]:
    """All rows, in the order of their sources."""
    sources = {name: Source(**source) for name, source in _data()["sources"].items()}
    rows = []
    for row in _data()["rows"]:
        scores = {
            name: tuple(row[name]) for name in ("humaneval", "mbpp", "average") if name in row
        }
        rows.append(PublishedRow(**row | scores | {"source": sources[row["source"]]}))
    return rows


def release(benchmark: str, digest: str) -> Release | None:
    """The release whose file has this MD5, or ``None`` where it is not known.

    Args:
      benchmark: ``humaneval`` or ``mbpp``.
      digest: of the file, unpacked, as `ocijax.judge.benchmark.Benchmark.version` has it.
    """
    found = _data()["releases"].get(benchmark, {}).get(digest)
    return found and Release(**found)


def tasks_of_mbpp(version: str) -> int | None:
    """How many tasks a version of MBPP+ has; ``None`` where it is not known."""
    return _data()["mbpp_tasks"].get(version)
