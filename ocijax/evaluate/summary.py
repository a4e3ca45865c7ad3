"""Results in numbers: pass rates with 95 % intervals, as rows and as a table."""

from collections import defaultdict
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
      protocol: see `ocijax.evaluate.protocols`.
      tasks: that were scored.
      passed: of these, those whose answer passed every test; of several answers to a task, the
        share that did.
      pass_rate: ``passed / tasks``.
      ci_low: lower end of its 95 % Wilson interval over tasks.
      ci_high: upper end.
      attempts: answers generated, those that did not score included.
      generated_tokens: in all of them.
    """

    benchmark: str
    protocol: str
    tasks: int
    passed: float
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
        scored = [row for row in rows if row[field] is not None]
        verdicts = defaultdict(list)
        for row in scored:
            verdicts[row["task_id"]].append(row[field])
        passed = sum(sum(answers) / len(answers) for answers in verdicts.values())
        low, high = wilson_interval(passed, len(verdicts))
        summary.append(
            SummaryRow(
                benchmark=name,
                protocol=protocol,
                tasks=len(verdicts),
                passed=int(passed) if passed == int(passed) else passed,
                pass_rate=passed / len(verdicts) if verdicts else 0.0,
                ci_low=low,
                ci_high=high,
                attempts=sum(row["rounds"] for row in scored),
                generated_tokens=sum(row["generated_tokens"] for row in scored),
            )
        )
    return summary


def to_json(rows: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """The rows as `summary.json` has them."""
    return [asdict(row) for row in rows]


def table(rows: Sequence[SummaryRow]) -> str:
    """The rows as text, one line each."""
    cells = [("benchmark", "protocol", "passed", "rate", "95 % interval", "attempts", "tokens")]
    cells += [
        (
            row.benchmark,
            row.protocol,
            f"{row.passed:.6g}/{row.tasks}",
            f"{row.pass_rate:.1%}",
            f"{row.ci_low:.1%} - {row.ci_high:.1%}",
            f"{row.attempts:,}",
            f"{row.generated_tokens:,}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if place < 2 else '>'}{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )
