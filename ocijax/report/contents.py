"""The tables of a report."""

from collections.abc import Iterable, Sequence

from ocijax.report.comparisons import Comparison, comparisons
from ocijax.report.error_kinds import KINDS
from ocijax.report.measures import cost, errors_by_round, repairs, rounds, score
from ocijax.report.protocols import SHOWN_TESTS
from ocijax.report.results import results_table
from ocijax.report.runs import Run, short_models
from ocijax.report.tables import (
    Column,
    Section,
    Table,
    count,
    number,
    percent,
    percent_interval,
    points,
    points_interval,
    probability,
)


def tables(runs: Sequence[Run], ks: Sequence[int] = ()) -> list[Table]:
    """All tables of a report; those that would be empty are left out.

    Args:
      runs: what it is about, at least one.
      ks: of pass@k, beside pass@1.
    """
    made = [
        results_table(runs),
        runs_table(runs, ks),
        comparisons_table(comparisons(runs)),
        rounds_table(runs),
        errors_table(runs),
        repairs_table(runs),
        costs_table(runs),
    ]
    return [table.without_empty_columns() for table in made if table.rows]


def runs_table(runs: Sequence[Run], ks: Sequence[int] = ()) -> Table:
    """Every run and suite with its pass rate and intervals.

    Pass@k has columns for those k for which some run has samples enough.
    """
    short = short_models(runs)
    found = [
        (run, suite, score(run, field, ks)) for run in runs for suite, field in run.suites.items()
    ]
    ks = [k for k in ks if k > 1 and any(one and k in one.pass_at for _, _, one in found)]
    rows = []
    for run, suite, one in found:
        row = [run.name, short[run.model], run.protocol, run.options or None]
        row += [None if run.finished else f"unfinished: {run.progress}", suite]
        row += [one.tasks, one.passed, one.rate, one.wilson, one.bootstrap] if one else [0]
        for k in ks:
            row += one.pass_at.get(k, [None, None]) if one else []
        rows.append(row + [None] * (11 + 2 * len(ks) - len(row)))
    columns = [
        Column("run"),
        Column("model"),
        Column("protocol"),
        Column("options"),
        Column("state"),
        Column("suite"),
        count("tasks"),
        number("passed", 1 if any(run.samples > 1 for run in runs) else 0),
        percent("pass@1"),
        percent_interval("95 %, Wilson"),
        percent_interval("95 %, bootstrap"),
    ]
    for k in ks:
        columns += [percent(f"pass@{k}"), percent_interval(f"pass@{k}, 95 %")]
    notes = [
        "Wilson's score interval, and the percentile bootstrap over tasks (10,000 draws). "
        "pass@k is unbiased (Chen et al. 2021), its interval the bootstrap's."
    ]
    return Table("runs", "Runs", columns, [Section("", rows)], notes)


def comparisons_table(found: Sequence[Comparison]) -> Table:
    """What pairs of runs differ by."""
    columns = [
        Column("suite"),
        Column("run"),
        Column("compared with"),
        Column("sampling"),
        count("tasks of both"),
        points("difference, points"),
        points_interval("95 %, paired bootstrap"),
        count("only the run passed"),
        count("only the other passed"),
        probability("p, McNemar"),
    ]
    rows = [
        [
            one.suite,
            one.run.label,
            one.other.label,
            one.sampling or None,
            one.tasks,
            one.difference,
            one.interval,
            one.only_run,
            one.only_other,
            one.p,
        ]
        for one in found
    ]
    notes = [
        "On the tasks that both runs have. p is that of McNemar's exact test, two-sided, not "
        "corrected for the number of comparisons; with several samples a task there is none. "
        "Protocols are compared where model, prompts, sanitizer, evaluator and sampling are the "
        "same, and with resampling the rounds; models where all settings are."
    ]
    if any(one.sampling for one in found):
        notes.append(
            "Where temperatures differ, one protocol resamples, which needs one above 0, and the "
            "other is greedy: the difference is that of both."
        )
    return Table("comparisons", "Comparisons", columns, [Section("", rows)], notes)


def rounds_table(runs: Sequence[Run]) -> Table:
    """Pass rates by round."""
    columns = [
        Column("suite"),
        Column("run"),
        count("round"),
        count("answers"),
        percent("passed shown tests"),
        percent("solved"),
        percent_interval("95 %, Wilson"),
    ]
    rows = [
        [suite, run.label, one.number, one.answers, one.passed_shown, one.solved, one.interval]
        for run in runs
        for suite, field in run.suites.items()
        for one in rounds(run, field)
    ]
    notes = [
        "Shares of all tasks by the end of a round. A task that went on had failed a test that may "
        f"be shown, and counts as not solved until its last answer. {SHOWN_TESTS}"
    ]
    return Table("rounds", "Pass rate by round", columns, [Section("", rows)], notes)


def errors_table(runs: Sequence[Run]) -> Table:
    """How the attempts of each round ended."""
    counted = {run.label: errors_by_round(run) for run in runs}
    seen = [kind for kind in KINDS if any(one[kind] for many in counted.values() for one in many)]
    columns = [Column("run"), count("round"), count("passed"), *map(count, seen)]
    rows = [
        [name, place, one[None], *(one[kind] for kind in seen)]
        for name, many in counted.items()
        for place, one in enumerate(many, start=1)
    ]
    explained = f"Of each answer's run on the shown tests: {_kinds_explained(seen)} {SHOWN_TESTS}"
    notes = [explained] if seen else []
    return Table("errors", "Errors by round", columns, [Section("", rows)], notes)


def _kinds_explained(kinds: Iterable[str]) -> str:
    return "; ".join(f"{kind}: {KINDS[kind]}" for kind in kinds) + "."


def repairs_table(runs: Sequence[Run]) -> Table:
    """Which kinds of error were repaired."""
    columns = [
        Column("run"),
        Column("error"),
        count("answers"),
        count("answered again"),
        count("then passed shown tests"),
        percent("of those answered again"),
        count("then solved"),
        percent("of those answered again, solved"),
    ]
    rows = [
        [
            run.label,
            one.kind,
            one.failed,
            one.answered,
            one.repaired if one.answered else None,
            one.repaired / one.answered if one.answered else None,
            one.solved if one.answered else None,
            one.solved / one.answered if one.answered else None,
        ]
        for run in runs
        if run.rounds > 1
        for one in repairs(run)
    ]
    notes = [
        "Of the answers whose run ended with an error, what the next answer to the same task came "
        "to; solved are those that passed every test that scores. In resampling the next answer "
        f"has read nothing of the one before. {SHOWN_TESTS}"
    ]
    return Table("repairs", "Errors repaired", columns, [Section("", rows)], notes)


def costs_table(runs: Sequence[Run]) -> Table:
    """What solving takes."""
    columns = [
        Column("suite"),
        Column("run"),
        count("answers"),
        count("tokens"),
        count("tokens per solved task"),
        number("seconds"),
        number("seconds per solved task", 2),
    ]
    rows = []
    for run in runs:
        for suite, field in run.suites.items():
            one = cost(run, field)
            rows.append(
                [
                    suite,
                    run.label,
                    one.answers,
                    one.tokens or None,
                    one.tokens_per_solved,
                    one.seconds,
                    one.seconds_per_solved,
                ]
            )
    notes = [
        "Tokens are those generated. Seconds are those in which answers were being generated; "
        "unknown for unfinished runs and for those of older versions."
    ]
    return Table("costs", "Cost", columns, [Section("", rows)], notes)
