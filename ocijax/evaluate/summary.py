"""Results in numbers: pass rates with 95 % intervals, as rows and as a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocijax.evaluate.statistics import wilson_interval
from ocijax.evaluate.store import Row


@dataclass(frozen=True)
class SummaryRow:
    """How a protocol did on a benchmark.

    Attributes:
      benchmark: ``humaneval``, ``humaneval+``, ``mbpp``, ``mbpp+`` or a file's name.
      protocol: see `ocijax.evaluate.protocols`; ``samples`` for a samples file.
      tasks: answers scored, one for each task and sample.
      passed: of these, those that passed every test.
      pass_rate: their share.
      ci_low: lower end of its 95 % Wilson interval.
      ci_high: upper end.
      attempts: answers generated, those that did not score included.
      generated_tokens: in all of them.
    """

    benchmark: str
    protocol: str
    tasks: int
    passed: int
    pass_rate: float
    ci_low: float
    ci_high: float
    attempts: int
    generated_tokens: int


def summarize(
    benchmark: str, plus: str | None, protocol: str, rows: Sequence[Row]
) -> list[SummaryRow]:
    """One row for the base tests and, where ``plus`` names them, one for base and plus together."""
    names = {"passed_base": benchmark} | ({"passed_plus": plus} if plus else {})
    summary = []
    for field, name in names.items():
        passed = sum(bool(row[field]) for row in rows)
        low, high = wilson_interval(passed, len(rows))
        summary.append(
            SummaryRow(
                benchmark=name,
                protocol=protocol,
                tasks=len(rows),
                passed=passed,
                pass_rate=passed / len(rows) if rows else 0.0,
                ci_low=low,
                ci_high=high,
                attempts=sum(row["rounds"] for row in rows),
                generated_tokens=sum(row["generated_tokens"] for row in rows),
            )
        )
    return summary


def to_json(rows: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """The rows as `summary.json` has them."""
    return [asdict(row) for row in rows]


def table(rows: Sequence[SummaryRow]) -> str:
    """The rows as text, one line each."""
    width = max([len(row.benchmark) for row in rows] + [len("benchmark")])
    lines = [
        f"{'benchmark':{width}}  {'protocol':10} {'passed':>11}  {'rate':>6}  "
        f"{'95 % interval':15} {'attempts':>8} {'tokens':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row.benchmark:{width}}  {row.protocol:10} {f'{row.passed}/{row.tasks}':>11}  "
            f"{row.pass_rate:6.1%}  {f'{row.ci_low:.1%} – {row.ci_high:.1%}':15} "  # noqa: RUF001
            f"{row.attempts:8,} {row.generated_tokens:9,}"
        )
    return "\n".join(lines)
