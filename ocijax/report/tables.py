"""Tables of values, written as Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

Show = Callable[[Any], str]

NOTHING = "-"
"""Stands in a cell without a value."""


@dataclass(frozen=True)
class Column:
    """What the cells of a column are.

    Attributes:
      name: at its head.
      show: writes a value.
      parts: names of the values where a cell has several.
      between: writes them, as ``{} ({})``.
    """

    name: str
    show: Show = str
    parts: tuple[str, ...] = ()
    between: str = "{}"

    @property
    def is_text(self) -> bool:
        """Whether its cells are words rather than numbers."""
        return self.show is str

    def text(self, value: Any) -> str:
        """A cell as it is shown."""
        if value is None or (self.parts and all(part is None for part in value)):
            return NOTHING
        parts = value if self.parts else (value,)
        if len(parts) > 1 and all(part is None for part in parts[1:]):
            return self.show(parts[0])
        return self.between.format(*(NOTHING if one is None else self.show(one) for one in parts))


def count(name: str) -> Column:
    """Of whole numbers, or of numbers rounded to these."""
    return Column(name, "{:,.0f}".format)


def number(name: str, digits: int = 1) -> Column:
    """Of numbers with so many digits after the point."""
    return Column(name, f"{{:,.{digits}f}}".format)


def probability(name: str) -> Column:
    """Of probabilities that may be small."""
    return Column(name, lambda value: "< 0.0001" if value < 1e-4 else f"{value:.4f}")


def percent(name: str) -> Column:
    """Of shares."""
    return Column(name, "{:.1%}".format)


def percent_interval(name: str) -> Column:
    """Of pairs of shares."""
    return Column(name, "{:.1%}".format, ("low", "high"), "{} to {}")


def points(name: str) -> Column:
    """Of differences of shares, in percentage points."""
    return Column(name, _points)


def points_interval(name: str) -> Column:
    """Of pairs of these."""
    return Column(name, _points, ("low", "high"), "{} to {}")


def scores(name: str) -> Column:
    """Of pass@1 in percent with base tests, and in brackets with plus tests too."""
    return Column(name, "{:.1f}".format, ("base", "plus"), "{} ({})")


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


@dataclass(frozen=True)
class Section:
    """Some rows of a table, with a heading of their own or none."""

    heading: str
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns.

    Attributes:
      name: in the CSV file; one word.
      title: above it.
      columns: at its head.
      sections: its rows.
      notes: what a reader must know, below it.
    """

    name: str
    title: str
    columns: Sequence[Column]
    sections: Sequence[Section]
    notes: Sequence[str] = ()

    @property
    def rows(self) -> list[Sequence[Any]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    def without_empty_columns(self) -> "Table":
        """The table without those columns that have no value in any row."""
        kept = [
            place
            for place, column in enumerate(self.columns)
            if any(column.text(row[place]) != NOTHING for row in self.rows)
        ]
        sections = [
            Section(section.heading, [[row[place] for place in kept] for row in section.rows])
            for section in self.sections
        ]
        return replace(self, columns=[self.columns[place] for place in kept], sections=sections)

    def cells(self, row: Sequence[Any]) -> list[str]:
        """A row as it is shown."""
        return [column.text(value) for column, value in zip(self.columns, row, strict=True)]


def to_markdown(tables: Sequence[Table], title: str) -> str:
    """A page with the tables."""
    parts = [f"# {_in_markdown(title)}"]
    for table in tables:
        lines = [
            _markdown_row(_in_markdown(column.name) for column in table.columns),
            _markdown_row("---" if column.is_text else "---:" for column in table.columns),
        ]
        for section in table.sections:
            if section.heading:
                heading = f"**{_in_markdown(section.heading)}**"
                lines.append(_markdown_row([heading, *[""] * (len(table.columns) - 1)]))
            lines += [_markdown_row(map(_in_markdown, table.cells(row))) for row in section.rows]
        parts += [f"## {_in_markdown(table.title)}", "\n".join(lines)]
        parts += [_in_markdown(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _in_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    marked = "".join(f"\\{one}" if one in "\\`*_[]<>|~#" else one for one in text)
    return " ".join(marked.split())


def to_csv(tables: Sequence[Table]) -> str:
    """One file with every value of every table, unrounded: a line for each.

    ``row`` counts a table's rows from 1; what a section's heading says is its rows' ``section``.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "row", "section", "column", "part", "value"])
    for table in tables:
        place = 0
        for section in table.sections:
            for row in section.rows:
                place += 1
                for column, value in zip(table.columns, row, strict=True):
                    several = column.parts and value is not None
                    parts = zip(column.parts, value, strict=True) if several else [("", value)]
                    for part, one in parts:
                        if one is not None:
                            writer.writerow(
                                [table.name, place, section.heading, column.name, part, one]
                            )
    return file.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "…": r"\ldots{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def to_latex(tables: Sequence[Table]) -> str:
    """Tables to put into a document that uses the packages booktabs and longtable."""
    parts = ["% \\usepackage{booktabs,longtable}"]
    for table in tables:
        form = "".join("l" if column.is_text else "r" for column in table.columns)
        lines = [
            f"\\begin{{longtable}}{{{form}}}",
            f"\\caption{{{_in_latex(table.title)}}}\\\\",
            "\\toprule",
            _latex_row(_in_latex(column.name) for column in table.columns),
            "\\midrule",
            "\\endhead",
        ]
        for place, section in enumerate(table.sections):
            lines += ["\\midrule"] if place else []
            if section.heading:
                heading = f"\\textbf{{{_in_latex(section.heading)}}}"
                lines.append(f"\\multicolumn{{{len(table.columns)}}}{{l}}{{{heading}}} \\\\")
            lines += [_latex_row(map(_in_latex, table.cells(row))) for row in section.rows]
        lines += ["\\bottomrule", "\\end{longtable}"]
        lines += [f"{_in_latex(note)}\n" for note in table.notes]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _latex_row(cells) -> str:
    return f"{' & '.join(cells)} \\\\"


def _in_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return " ".join("".join(_LATEX.get(one, one) for one in text).split())
