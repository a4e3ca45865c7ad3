"""A programming task: what is asked, the tests that may be shown and the tests that score."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TestCase:
    """One call of the entry point and what it must give.

    Attributes:
      arguments: positional arguments, plain data.
      expected: plain data.
      message: what a failing assertion says in words, as good tests do; may be empty.
    """

    __test__ = False  # not a pytest class

    arguments: tuple[Any, ...]
    expected: Any
    message: str = ""


@dataclass(frozen=True)
class Suite:
    """Tests that score, judged by one oracle.

    Attributes:
      cases: calls and expected values.
      atol: absolute tolerance of float comparison; 0 compares exactly unless floats are expected.
      oracle: name of the comparison, ``equal`` or one of EvalPlus's special ones.
      seconds: reference time of each case, from the canonical solution; empty: unknown.
    """

    cases: tuple[TestCase, ...]
    atol: float = 0.0
    oracle: str = "equal"
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is asked and how it is judged.

    Attributes:
      task_id: unique in its benchmark.
      instruction: the first user turn.
      entry_point: function to define.
      prompt: code that a bare completion goes on from; empty where answers stand alone.
      public_tests: may be shown as feedback; never part of ``suites``' inputs by intent.
      suites: scoring tests by name: ``base``, and ``plus`` where the benchmark has it.
      metadata: free, JSON-serialisable.
    """

    task_id: str
    instruction: str
    entry_point: str
    prompt: str = ""
    public_tests: tuple[TestCase, ...] = ()
    suites: dict[str, Suite] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
