"""The quickstart's figure: how the loss fell, and what each protocol solves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def draw(
    metrics: Sequence[Mapping[str, float]],
    results: Sequence[Mapping[str, Any]],
    ceiling: float,
    path: str | Path,
) -> None:
    """Writes a PNG: the loss by step on the left, pass rates with their intervals on the right.

    Args:
      metrics: rows of a run's ``metrics.jsonl``, see `ocijax.train.metrics.read_metrics`.
      results: rows of ``summary.json``; of each ``protocol``, ``pass_rate``, ``ci_low`` and
        ``ci_high`` are drawn.
      ceiling: the pass rate that guessing one reading has.
      path: the file.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, rates = figure.subplots(1, 2)
    _draw_loss(loss, metrics)
    _draw_rates(rates, results, ceiling)
    figure.savefig(path, format="png", dpi=150)


def _draw_loss(axes: Axes, metrics: Sequence[Mapping[str, float]]) -> None:
    for name, label, style in (
        ("loss", "training", {"linewidth": 0.8}),
        ("evaluation_loss", "held out", {"marker": "o"}),
    ):
        rows = [row for row in metrics if name in row]
        if rows:
            steps, losses = [row["step"] for row in rows], [row[name] for row in rows]
            axes.plot(steps, losses, label=label, **style)
    axes.set(xlabel="step", ylabel="loss (nats per token)", yscale="log", title="Training")
    axes.legend()


def _draw_rates(axes: Axes, results: Sequence[Mapping[str, Any]], ceiling: float) -> None:
    names = [row["protocol"] for row in results]
    rates = [row["pass_rate"] for row in results]
    below = [row["pass_rate"] - row["ci_low"] for row in results]
    above = [row["ci_high"] - row["pass_rate"] for row in results]
    axes.bar(names, rates, yerr=[below, above], capsize=6, color="tab:green", alpha=0.8)
    axes.axhline(ceiling, color="black", linestyle="--", label=f"one guess: {ceiling:.1%}")
    axes.set(ylim=(0, 1), ylabel="held-out tasks solved", title="First answers and repairs")
    axes.legend()
