"""What a run's rows come to: scores, scores by round, errors and their repairs, cost."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ocijax.evaluate.statistics import bootstrap_interval, pass_at_k, wilson_interval
from ocijax.evaluate.store import Row
from ocijax.report.error_kinds import KINDS, error_kind
from ocijax.report.runs import Run

Interval = tuple[float, float]


@dataclass(frozen=True)
class Score:
    """How a run did on one suite.

    Attributes:
      tasks: that were scored.
      passed: of these; of several samples of a task, the share that did.
      rate: ``passed / tasks``.
      wilson: 95 % interval of the rate.
      bootstrap: another, by drawing tasks anew.
      pass_at: pass@k and its bootstrap interval, by k; those that some task has too few samples
        for are left out.
    """

    tasks: int
    passed: float
    rate: float
    wilson: Interval
    bootstrap: Interval
    pass_at: Mapping[int, tuple[float, Interval]]


def passes(run: Run, field: str) -> dict[str, list[bool]]:
    """The verdicts of each task's samples on a suite, by task id; see `Run.suites`."""
    verdicts = {
        task_id: [row[field] for row in rows if row[field] is not None]
        for task_id, rows in run.results.items()
    }
    return {task_id: samples for task_id, samples in verdicts.items() if samples}


def pass_shares(run: Run, field: str) -> dict[str, float]:
    """The share of each task's samples that passed, by task id."""
    return {task_id: sum(one) / len(one) for task_id, one in passes(run, field).items()}


def score(run: Run, field: str, ks: Sequence[int] = ()) -> Score | None:
    """The score on a suite, or ``None`` where nothing was scored."""
    verdicts = passes(run, field)
    if not verdicts:
        return None
    shares = list(pass_shares(run, field).values())
    passed = math.fsum(shares)
    fewest = min(map(len, verdicts.values()))
    pass_at = {}
    for k in (k for k in ks if k <= fewest):
        values = [pass_at_k(len(one), sum(one), k) for one in verdicts.values()]
        pass_at[k] = math.fsum(values) / len(values), bootstrap_interval(values)
    return Score(
        len(shares),
        passed,
        passed / len(shares),
        wilson_interval(passed, len(shares)),
        bootstrap_interval(shares),
        pass_at,
    )


@dataclass(frozen=True)
class Round:
    """Where a run stood after a round of answers.

    Attributes:
      number: of the round, from 1.
      answers: given in it.
      passed_shown: share of tasks that had passed the tests that end them by then.
      solved: share of tasks that had ended by then with a program that passed the suite.
      interval: 95 % Wilson interval of ``solved``.
    """

    number: int
    answers: int
    passed_shown: float
    solved: float
    interval: Interval


def rounds(run: Run, field: str) -> list[Round]:
    """The run round by round; empty where attempts were not kept.

    A task that went on had failed a test that may be shown, and counts as not solved until its last
    answer. After the last round, ``solved`` is the run's score.
    """
    results = {
        task_id: [row for row in rows if row[field] is not None and row.get("attempts")]
        for task_id, rows in run.results.items()
    }
    results = {task_id: rows for task_id, rows in results.items() if rows}
    every = [row for rows in results.values() for row in rows]
    found = []
    for number in range(1, max((len(row["attempts"]) for row in every), default=0) + 1):

        def share(holds, number=number) -> float:
            return math.fsum(
                sum(len(row["attempts"]) <= number and bool(holds(row)) for row in rows) / len(rows)
                for rows in results.values()
            )

        solved = share(lambda row: row[field])
        found.append(
            Round(
                number,
                sum(len(row["attempts"]) >= number for row in every),
                share(lambda row: row["attempts"][-1]["passed"]) / len(results),
                solved / len(results),
                wilson_interval(solved, len(results)),
            )
        )
    return found


def errors_by_round(run: Run) -> list[Counter[str | None]]:
    """How many attempts of each round ended with each kind of error; ``None`` counts passes."""
    counts: list[Counter[str | None]] = []
    for row in run.rows:
        for number, attempt in enumerate(row.get("attempts", ())):
            if number == len(counts):
                counts.append(Counter())
            counts[number][error_kind(attempt)] += 1
    return counts


def ended_with(run: Run) -> Counter[str | None]:
    """How many trajectories ended with each kind of error."""
    return Counter(error_kind(row["attempts"][-1]) for row in run.rows if row.get("attempts"))


@dataclass(frozen=True)
class Repairs:
    """What became of the attempts that ended with one kind of error.

    Attributes:
      kind: see `ocijax.report.error_kinds`.
      failed: attempts that ended so.
      answered: of these, those that another answer followed.
      repaired: of these, those whose next program passed the tests that end a task.
      solved: of these, those whose next program passed the base and, where there are any, the
        plus tests.
    """

    kind: str
    failed: int
    answered: int
    repaired: int
    solved: int


def repairs(run: Run) -> list[Repairs]:
    """Of each kind of error that occurred, what became of it, in the order of `KINDS`."""
    failed, answered, repaired, solved = Counter(), Counter(), Counter(), Counter()
    for row in run.rows:
        for kind, following in _failures(row):
            failed[kind] += 1
            answered[kind] += following is not None
            passed = following is not None and following["passed"]
            repaired[kind] += passed
            solved[kind] += passed and solved_all(row)
    return [
        Repairs(kind, failed[kind], answered[kind], repaired[kind], solved[kind])
        for kind in KINDS
        if failed[kind]
    ]


def solved_all(row: Row) -> bool:
    """Whether a row's program passed every test that there is."""
    return row["passed_base"] and row["passed_plus"] is not False


def _failures(row: Row) -> Iterator[tuple[str, Row | None]]:
    """Kind and following attempt of each attempt that failed."""
    attempts = row.get("attempts", [])
    for attempt, following in zip_longest(attempts, attempts[1:]):
        kind = error_kind(attempt)
        if kind is not None:
            yield kind, following


@dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
      answers: generated.
      tokens: generated in them.
      seconds: see `Run.seconds`.
      solved: tasks that passed the suite; of several samples, all that did.
    """

    answers: int
    tokens: int
    seconds: float | None
    solved: int

    @property
    def tokens_per_solved(self) -> float | None:
        """``None`` where nothing was generated, or solved."""
        return self.tokens / self.solved if self.tokens and self.solved else None

    @property
    def seconds_per_solved(self) -> float | None:
        """``None`` where that is not known, or nothing was solved."""
        return None if self.seconds is None or not self.solved else self.seconds / self.solved


def cost(run: Run, field: str) -> Cost:
    """The cost of solving a suite's tasks."""
    return Cost(
        sum(row["rounds"] for row in run.rows),
        sum(row["generated_tokens"] for row in run.rows),
        run.seconds,
        sum(bool(row[field]) for row in run.rows),
    )
