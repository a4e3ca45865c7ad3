"""Runs beside each other on the tasks that both have: what they differ by, and whether by chance.

Compared are, of one checkpoint on one benchmark, every protocol with ``single`` and ``resample``;
and of one protocol on one benchmark, every checkpoint with the first.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocijax.evaluate.statistics import bootstrap_interval, mcnemar_exact
from ocijax.report.measures import Interval, pass_shares
from ocijax.report.runs import Run

BASELINES = ("single", "resample")
"""Protocols that the others are compared with."""


@dataclass(frozen=True)
class Comparison:
    """One run beside another on a suite.

    Attributes:
      suite: what was tested.
      run: the one.
      other: the baseline.
      tasks: that both have.
      difference: of the pass rates on these, ``run`` less ``other``.
      interval: its 95 % paired bootstrap interval.
      only_run: tasks that ``run`` alone passed; ``None`` where a task has several samples.
      only_other: likewise.
      p: McNemar's exact p of these two; likewise.
    """

    suite: str
    run: Run
    other: Run
    tasks: int
    difference: float
    interval: Interval
    only_run: int | None
    only_other: int | None
    p: float | None


def compare(run: Run, other: Run, suite: str) -> Comparison | None:
    """Two runs on a suite that both have, or ``None`` where they have no task in common."""
    ours, theirs = (pass_shares(one, one.suites[suite]) for one in (run, other))
    common = [task_id for task_id in ours if task_id in theirs]
    if not common:
        return None
    differences = [ours[task_id] - theirs[task_id] for task_id in common]
    difference = math.fsum(differences) / len(common)
    interval = bootstrap_interval(differences)
    samples = max(len(one.results[task_id]) for one in (run, other) for task_id in common)
    if samples > 1:
        return Comparison(suite, run, other, len(common), difference, interval, None, None, None)
    only_run, only_other = (sum(one == sign for one in differences) for sign in (1, -1))
    return Comparison(
        suite,
        run,
        other,
        len(common),
        difference,
        interval,
        only_run,
        only_other,
        mcnemar_exact(only_run, only_other),
    )


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """All that are of interest, in the order of runs."""
    found = [
        compare(run, other, suite)
        for run, other in _pairs(runs)
        for suite in run.suites
        if suite in other.suites
    ]
    return [one for one in found if one is not None]


def _pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    for run in runs:
        others = [other for other in runs if other.benchmark == run.benchmark and other is not run]
        for baseline in BASELINES:
            if run.protocol not in BASELINES[: BASELINES.index(baseline) + 1]:
                for other in others:
                    if other.model == run.model and other.protocol == baseline:
                        yield run, other
        same = [other for other in runs if _alike(other, run)]
        for other in same:
            if other.model == same[0].model != run.model:
                yield run, other


def _alike(one: Run, other: Run) -> bool:
    return (one.benchmark, one.protocol, one.rounds) == (
        other.benchmark,
        other.protocol,
        other.rounds,
    )
