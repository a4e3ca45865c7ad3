"""What the tasks ask for: clauses in words and in Python, and the instructions they combine to.

Every task keeps some of a list's numbers, changes each, and gives a result; one of these three
clauses is open.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

ENTRY_POINT = "solve"

FEWEST_READINGS = 4
"""Every instruction has at least so many."""


@dataclass(frozen=True)
class Reading:
    """One way to understand a clause.

    Attributes:
      meaning: what it comes to, in words; empty where a clause has one reading only.
      code: the Python expression.
    """

    meaning: str
    code: str


@dataclass(frozen=True)
class Clause:
    """Part of an instruction: settled where it has one reading, open where it has several."""

    words: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Instruction:
    """One combination of clauses, exactly one of them open.

    Attributes:
      family: which kind of thing is open.
      text: what is asked.
      readings: what may be meant, in words.
      programs: the right program of each reading, in the same order.
    """

    family: str
    text: str
    readings: tuple[str, ...]
    programs: tuple[str, ...]


def _settled(words: str, code: str) -> Clause:
    return Clause(words, (Reading("", code),))


def _open(words: str, readings: dict[str, str]) -> Clause:
    return Clause(words, tuple(Reading(meaning, code) for meaning, code in readings.items()))


FILTERS = (
    _settled("the even numbers", "n % 2 == 0"),
    _settled("the odd numbers", "n % 2 == 1"),
    _settled("the positive numbers", "n > 0"),
    _settled("the negative numbers", "n < 0"),
    *(_settled(f"the numbers above {bound}", f"n > {bound}") for bound in range(1, 10)),
    *(_settled(f"the numbers below {bound}", f"n < {bound}") for bound in range(1, 10)),
    *(_settled(f"the multiples of {base}", f"n % {base} == 0") for base in range(3, 7)),
)
"""Which numbers ``n`` to keep."""

CHANGES = (
    _settled("square each", "n * n"),
    _settled("negate each", "-n"),
    _settled("take the absolute value of each", "abs(n)"),
    *(_settled(f"add {amount} to each", f"n + {amount}") for amount in range(1, 10)),
    *(_settled(f"subtract {amount} from each", f"n - {amount}") for amount in range(1, 10)),
    *(_settled(f"multiply each by {factor}", f"n * {factor}") for factor in range(2, 10)),
)
"""What becomes of each kept number ``n``."""

RESULTS = (
    _settled("list them", "changed"),
    _settled("give their sum", "sum(changed)"),
    _settled("count the different ones", "len(set(changed))"),
)
"""What to return of the ``changed`` numbers."""

OPEN_FILTERS = {
    "bounds": tuple(
        _open(
            f"the numbers from {low} to {high}",
            {
                "both ends count": f"{low} <= n <= {high}",
                "neither end counts": f"{low} < n < {high}",
                "only the lower end counts": f"{low} <= n < {high}",
                "only the upper end counts": f"{low} < n <= {high}",
            },
        )
        for low, high in itertools.combinations(range(1, 10), 2)
        if high - low >= 3
    )
}

OPEN_CHANGES = {
    "rounding": tuple(
        _open(
            f"divide each by {divisor}",
            {
                "rounded down": f"n // {divisor}",
                "rounded up": f"-(-n // {divisor})",
                "rounded toward zero": f"int(n / {divisor})",
                "rounded to the nearest": f"round(n / {divisor})",
                "not rounded": f"n / {divisor}",
            },
        )
        for divisor in range(2, 10)
    )
}

OPEN_RESULTS = {
    "order": (
        _open(
            "put them in order",
            {
                "smallest first": "sorted(changed)",
                "largest first": "sorted(changed, reverse=True)",
                "ordered by last digit": "sorted(changed, key=lambda n: n % 10)",
                "ordered as texts": "sorted(changed, key=str)",
                "last one first": "changed[::-1]",
            },
        ),
    ),
    "empty": tuple(
        _open(
            f"give the {name} one",
            {
                "nothing kept gives zero": f"{code} if changed else 0",
                "nothing kept gives minus one": f"{code} if changed else -1",
                "nothing kept gives None": f"{code} if changed else None",
                "nothing kept gives an empty text": f'{code} if changed else ""',
                "nothing kept gives an empty list": f"{code} if changed else []",
            },
        )
        for name, code in {
            "largest": "max(changed)",
            "smallest": "min(changed)",
            "first": "changed[0]",
            "last": "changed[-1]",
        }.items()
    ),
    "base": (
        _open(
            "write out their sum",
            {
                "in base two": 'format(sum(changed), "b")',
                "in base eight": 'format(sum(changed), "o")',
                "in base ten": 'format(sum(changed), "d")',
                "in base sixteen": 'format(sum(changed), "x")',
            },
        ),
    ),
    "separator": (
        _open(
            "join them into one text",
            {
                "joined by commas": '",".join(map(str, changed))',
                "joined by dashes": '"-".join(map(str, changed))',
                "joined by spaces": '" ".join(map(str, changed))',
                "joined by slashes": '"/".join(map(str, changed))',
                "joined by colons": '":".join(map(str, changed))',
            },
        ),
    ),
    "repeats": (
        _open(
            "leave out the repeats",
            {
                "the first of equals stays": "list(dict.fromkeys(changed))",
                "the last of equals stays": "list(dict.fromkeys(changed[::-1]))[::-1]",
                "none of equals stays": "[n for n in changed if changed.count(n) == 1]",
                "sorted without equals": "sorted(set(changed))",
            },
        ),
    ),
    "numbering": (
        _open(
            "number them",
            {
                "counting from zero": "[[i, n] for i, n in enumerate(changed, 0)]",
                "counting from one": "[[i, n] for i, n in enumerate(changed, 1)]",
                "counting from ten": "[[i, n] for i, n in enumerate(changed, 10)]",
                "counting from minus one": "[[i, n] for i, n in enumerate(changed, -1)]",
            },
        ),
    ),
}


def instructions() -> dict[str, list[Instruction]]:
    """Every instruction there is, by family, in a fixed order."""
    combinations: dict[str, Iterator[tuple[Clause, Clause, Clause]]] = {
        **{
            family: itertools.product(clauses, CHANGES, RESULTS)
            for family, clauses in OPEN_FILTERS.items()
        },
        **{
            family: itertools.product(FILTERS, clauses, RESULTS)
            for family, clauses in OPEN_CHANGES.items()
        },
        **{
            family: itertools.product(FILTERS, CHANGES, clauses)
            for family, clauses in OPEN_RESULTS.items()
        },
    }
    return {
        family: [_instruction(family, *clauses) for clauses in combined]
        for family, combined in combinations.items()
    }


def _instruction(family: str, keep: Clause, change: Clause, result: Clause) -> Instruction:
    chosen = [
        (keep_reading, change_reading, result_reading)
        for keep_reading in keep.readings
        for change_reading in change.readings
        for result_reading in result.readings
    ]
    return Instruction(
        family=family,
        text=(
            f"Write {ENTRY_POINT}(numbers): keep {keep.words}, {change.words} and {result.words}."
        ),
        readings=tuple("".join(reading.meaning for reading in readings) for readings in chosen),
        programs=tuple(_program(*(reading.code for reading in readings)) for readings in chosen),
    )


def _program(keep: str, change: str, result: str) -> str:
    return (
        f"def {ENTRY_POINT}(numbers):\n"
        f"    kept = [n for n in numbers if {keep}]\n"
        f"    changed = [{change} for n in kept]\n"
        f"    return {result}\n"
    )
