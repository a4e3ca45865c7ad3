"""Runs beside each other on the tasks that both have: what they differ by, and whether by chance.

Compared are, of one checkpoint on one benchmark, every protocol with ``single`` and ``resample``,
and of one protocol on one benchmark, every checkpoint with the first; always runs that are
otherwise alike, as far as the protocols allow.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ocijax.evaluate.statistics import bootstrap_interval, mcnemar_exact
from ocijax.report.measures import Interval, pass_shares
from ocijax.report.runs import Run

BASELINES = ("single", "resample")
"""Protocols that the others are compared with."""

_WHATEVER_PROTOCOL = ("prompts", "sanitizer", "evaluator")
_OF_DRAWING = {"temperature", "top_p", "top_k", "seed"}


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
      sampling: their temperatures, where one was greedy and the other could not be; else empty.
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
    sampling: str = ""


def compare(run: Run, other: Run, suite: str) -> Comparison | None:
    """Two runs on a suite that both have, or ``None`` where they have no task in common."""
    ours, theirs = (pass_shares(one, one.suites[suite]) for one in (run, other))
    common = [task_id for task_id in ours if task_id in theirs]
    if not common:
        return None
    differences = [ours[task_id] - theirs[task_id] for task_id in common]
    difference = math.fsum(differences) / len(common)
    interval = bootstrap_interval(differences)
    found = Comparison(
        *(suite, run, other, len(common), difference, interval, None, None, None),
        sampling=_sampling(run, other),
    )
    samples = max(len(one.results[task_id]) for one in (run, other) for task_id in common)
    if samples > 1:
        return found
    only_run, only_other = (sum(one == sign for one in differences) for sign in (1, -1))
    p = mcnemar_exact(only_run, only_other)
    return replace(found, only_run=only_run, only_other=only_other, p=p)


def _sampling(run: Run, other: Run) -> str:
    one, another = ((each.method["sampling"] or {}).get("temperature", 0) for each in (run, other))
    return "" if one == another else f"temperature {one:g} against {another:g}"


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
                    if other.protocol == baseline and _differ_by_protocol(run, other):
                        yield run, other
        same = [other for other in runs if _differ_by_model(other, run)]
        for other in same:
            if other.model == same[0].model != run.model:
                yield run, other


def _differ_by_model(one: Run, other: Run) -> bool:
    """Whether two runs are alike, whatever answered."""
    return (one.benchmark, one.protocol, one.rounds, one.method) == (
        other.benchmark,
        other.protocol,
        other.rounds,
        other.method,
    )


def _differ_by_protocol(run: Run, baseline: Run) -> bool:
    """Whether two runs of a model are alike but for the protocol and what it asks for.

    Only ``single`` has fewer answers, only protocols that show them have tests to show, only those
    with an adviser have one, and only what resamples must be drawn where the other is greedy.
    """
    return (
        run.model == baseline.model
        and (baseline.protocol == "single" or run.rounds == baseline.rounds)
        and all(run.method[name] == baseline.method[name] for name in _WHATEVER_PROTOCOL)
        and (
            run.method["sampling"] == baseline.method["sampling"]
            or _must_differ(run, baseline)
            or _must_differ(baseline, run)
        )
    )


def _must_differ(greedy: Run, drawn: Run) -> bool:
    """Whether one is greedy, the other resamples and therefore cannot be, and no more differs."""
    if greedy.protocol.startswith("resample") or not drawn.protocol.startswith("resample"):
        return False
    one, other = (run.method["sampling"] or {} for run in (greedy, drawn))
    kept = (one.keys() | other.keys()) - _OF_DRAWING
    return not one.get("temperature", 0) and all(one.get(name) == other.get(name) for name in kept)
