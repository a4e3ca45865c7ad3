"""Results as the paper lays them out, with published rows below ours."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocijax.report.measures import score
from ocijax.report.protocols import label, order
from ocijax.report.published import (
    PublishedRow,
    Release,
    Scores,
    published_rows,
    release,
    tasks_of_mbpp,
)
from ocijax.report.runs import Run, short_models
from ocijax.report.tables import Column, Section, Table, scores

_PAPER_BENCHMARKS = ("humaneval", "mbpp")

_NOTE_SCORES = (
    "Pass@1 in percent with the base tests, in brackets with base and plus tests. Benchmarks of "
    "other tasks or tests have columns of their own."
)
_NOTE_PUBLISHED = (
    "Do not compare MBPP across columns: the paper's MBPP+ is v0.1.0 with 399 tasks, today's "
    "v0.2.0 has 378, which by EvalPlus's word raises pass@1 by some 4 points. HumanEval has "
    "the same 164 tasks in all rows, but the paper's HumanEval+ is v0.1.9, today's v0.1.10."
)
_NOTE_FEEDBACK = (
    "Published execution feedback shows the model the first failing one of the tests that score, "
    "in separate runs for base and plus: only our protocol execution_oracle compares with it. "
    "Execution feedback of public tests shows only tests that stand in the prompt."
)
_AS_THE_PAPER = "base from a run of its own, plus from another, as the paper"
_NOTE_UNFINISHED = "Runs marked with a number of tasks are unfinished, or on a part of a benchmark."


@dataclass(frozen=True)
class _Line:
    """A row of the results: scores and averages by column, what tells it apart, and its parts."""

    model: str
    protocol: str
    scores: Mapping[str, Scores]
    size: str = ""
    source: str = ""
    told: Sequence[str] = ()
    parts: Sequence[str] = ()


_ByColumn = Mapping[str, tuple[Run, Run]]
"""Of a line, by column, the runs that its base and its plus score are from: as a rule the same."""


def results_table(runs: Sequence[Run]) -> Table:
    """Models and what feedback adds, benchmark by benchmark, with published rows below ours.

    Published rows are there where a run is on HumanEval or MBPP.
    """
    ours = _our_lines(runs)
    groups = {"This report": ours}
    notes = [_NOTE_SCORES]
    if any(run.settings["benchmark"] in _PAPER_BENCHMARKS for run in runs):
        rows = published_rows()
        for row in rows:
            groups.setdefault(f"Published: {row.group}", []).append(_published_line(row))
        notes += [_NOTE_PUBLISHED, _NOTE_FEEDBACK]
        sources = dict.fromkeys(row.source for row in rows)
        notes += [f"{source.name}: {source.address}. {source.note}".rstrip() for source in sources]
    if any(line.parts for line in ours):
        notes.append(_NOTE_UNFINISHED)
    names = _score_columns(line for lines in groups.values() for line in lines)
    columns = [Column("model"), Column("size"), *map(scores, names), Column("source")]
    sections = [
        Section(heading, [_cells(line, names, named) for line, named in _named(lines)])
        for heading, lines in groups.items()
    ]
    return Table("results", "Results, in the paper's layout", columns, sections, notes)


def _our_lines(runs: Sequence[Run]) -> list[_Line]:
    """Runs of the same model under the same protocol and settings are one line."""
    columns = _columns(runs)
    lines: dict[tuple, dict[str, tuple[Run, Run]]] = {}
    for run in runs:
        made_by = json.dumps([run.rounds, run.samples, run.method], sort_keys=True)
        column, again = columns[run.benchmark], 0
        while column in lines.setdefault((run.model, run.protocol, made_by, again), {}):
            again += 1
        lines[run.model, run.protocol, made_by, again][column] = run, run
    alike: dict[tuple[str, str], list[_ByColumn]] = {}
    for (model, protocol, *_), by_column in lines.items():
        alike.setdefault((model, protocol), []).append(by_column)
    for lines_of_it in alike.values():
        lines_of_it += list(_as_the_paper(lines_of_it))
        lines_of_it.sort(key=lambda by_column: min(run.rounds for run in _runs(by_column)))
    models = list(dict.fromkeys(run.model for run in runs))
    short = short_models(runs)
    return [
        _Line(
            short[model],
            protocol,
            _our_scores(by_column),
            told=told,
            parts=list(_parts(by_column)),
        )
        for (model, protocol), lines_of_it in sorted(
            alike.items(), key=lambda one: (models.index(one[0][0]), order(one[0][1]))
        )
        for by_column, told in zip(lines_of_it, _told_apart(lines_of_it), strict=True)
    ]


def _runs(by_column: _ByColumn) -> list[Run]:
    return list({id(run): run for pair in by_column.values() for run in pair}.values())


def _as_the_paper(lines: Sequence[_ByColumn]) -> Iterator[_ByColumn]:
    """Of lines that show the tests that score, those that add up to one of the paper's.

    It has the base score of a run that showed base tests, and the plus score of one that showed
    both.
    """
    for base in lines:
        for plus in lines:
            both = {
                column: (run, plus[column][1])
                for column, (run, _) in base.items()
                if column in plus and _differ_by_suites(run, plus[column][1])
            }
            if both:
                yield both


def _differ_by_suites(base: Run, plus: Run) -> bool:
    """Whether two runs are alike but for the tests shown: those of the base suite, and all."""
    return (
        base.method | {"oracle_tests": "plus"} == plus.method
        and base.method["oracle_tests"] == "base"
        and (base.rounds, base.samples) == (plus.rounds, plus.samples)
        and base.results.keys() == plus.results.keys()
    )


def _told_apart(lines: Sequence[_ByColumn]) -> list[list[str]]:
    """What tells lines of one model and protocol apart: options, or else names of runs."""
    if len(lines) == 1:
        return [[]]
    pairs = [next(iter(line.values())) for line in lines]
    joined = [[_AS_THE_PAPER] if base is not plus else [] for base, plus in pairs]
    options = [[plus.options] if plus.options else [] for _, plus in pairs]
    told = [[*one, *other] for one, other in zip(options, joined, strict=True)]
    if len(set(map(tuple, told))) == len(lines):
        return told
    names = [[run.name for run in _runs(line)] for line in lines]
    return [[*one, *other] for one, other in zip(names, joined, strict=True)]


def _parts(by_column: _ByColumn) -> Iterator[str]:
    """How much there is of those runs that are not of a whole benchmark."""
    for name, (run, _) in by_column.items():
        known = _release(run)
        if not run.finished:
            yield f"{name}: {run.progress}"
        elif known and len(run.results) < known.tasks:
            yield f"{name}: {len(run.results)} of {known.tasks} tasks"


def _our_scores(by_column: _ByColumn) -> dict[str, Scores]:
    found: dict[str, Scores] = {}
    whole: dict[str, dict[str, Scores]] = {name: {} for name in _PAPER_BENCHMARKS}
    for name, (run, other) in by_column.items():
        rates = [score(run, "passed_base"), score(other, "passed_plus")]
        found[name] = base, plus = tuple(one and 100 * one.rate for one in rates)
        known = _release(run)
        if known and run.finished and len(run.results) == known.tasks:
            whole[run.settings["benchmark"]][known.version] = base, plus
    humaneval, mbpp = whole.values()
    for one in humaneval.values():
        for version, other in mbpp.items():
            found[_average_name(version)] = tuple(
                None if a is None or b is None else (a + b) / 2
                for a, b in zip(one, other, strict=True)
            )
    return found


def _published_line(row: PublishedRow) -> _Line:
    found = {
        "HumanEval": row.humaneval,
        _mbpp_name(row.mbpp_version): row.mbpp,
        _average_name(row.mbpp_version): row.average,
    }
    some = {name: pair for name, pair in found.items() if pair != (None, None)}
    return _Line(row.model, row.protocol, some, row.size, row.source.name)


def _release(run: Run) -> Release | None:
    return release(*run.benchmark)


def _columns(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """The name of the column that has the scores on each benchmark."""
    benchmarks = dict.fromkeys(run.benchmark for run in runs)
    names = [name for name, _ in benchmarks]
    return {one: _column(*one, names.count(one[0]) > 1) for one in benchmarks}


def _column(name: str, digest: str, ambiguous: bool) -> str:
    known = release(name, digest)
    if known is None:
        # A name of HumanEval or MBPP alone would promise their tests.
        ambiguous |= name in _PAPER_BENCHMARKS
        return f"{name} of tests {digest[:8]}" if ambiguous else name
    return "HumanEval" if name == "humaneval" else _mbpp_name(known.version)


def _mbpp_name(version: str) -> str:
    tasks = tasks_of_mbpp(version)
    return f"MBPP {version}, {tasks} tasks" if tasks else f"MBPP, version {version}"


def _average_name(version: str) -> str:
    return f"Average, MBPP {version}"


def _score_columns(lines: Iterable[_Line]) -> list[str]:
    """Names of the columns that some line has: HumanEval, MBPP, averages, then any others."""
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    ranks = ("HumanEval", "MBPP", "Average", "")
    return sorted(
        names, key=lambda name: next(i for i, rank in enumerate(ranks) if name.startswith(rank))
    )


def _named(lines: Sequence[_Line]) -> Iterable[tuple[_Line, str]]:
    """Each line and what it is called: what comes after a model's own line just what it adds."""
    model = None
    for line in lines:
        added = label(line.protocol)
        named = added if added and line.model == model else f"{line.model} {added}".rstrip()
        model = line.model
        marks = "; ".join([*line.told, *line.parts])
        yield line, f"{named} [{marks}]" if marks else named


def _cells(line: _Line, names: Sequence[str], named: str) -> list:
    return [
        named,
        line.size or None,
        *(line.scores.get(name, (None, None)) for name in names),
        line.source or None,
    ]
