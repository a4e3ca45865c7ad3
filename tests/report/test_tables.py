"""Tables as Markdown, CSV and LaTeX."""

import csv
import io

import pytest

from ocijax.report.tables import (
    Column,
    Section,
    Table,
    count,
    percent,
    percent_interval,
    points,
    probability,
    scores,
    to_csv,
    to_latex,
    to_markdown,
)

TABLE = Table(
    "runs",
    "All runs",
    [Column("run"), scores("MBPP"), percent("rate"), percent_interval("95 %")],
    [
        Section("Ours", [["a_b|c", (81.25, 70.0), 0.8125, (0.7, 0.9)]]),
        Section(
            "Others", [["<i>", (None, 68.5), None, (None, None)], ["x", (50.0, None), 0, None]]
        ),
    ],
    ["Of 100 % & more."],
)


def test_markdown():
    assert to_markdown([TABLE], "Report").split("\n") == [
        "# Report",
        "",
        "## All runs",
        "",
        "| run | MBPP | rate | 95 % |",
        "| --- | ---: | ---: | ---: |",
        "| **Ours** |  |  |  |",
        "| a\\_b\\|c | 81.2 (70.0) | 81.2% | 70.0% to 90.0% |",
        "| **Others** |  |  |  |",
        "| \\<i\\> | - (68.5) | - | - |",
        "| x | 50.0 | 0.0% | - |",
        "",
        "Of 100 % & more.",
        "",
    ]


def test_csv_has_every_value_unrounded():
    rows = list(csv.DictReader(io.StringIO(to_csv([TABLE]))))
    found = {(row["row"], row["column"], row["part"]): row["value"] for row in rows}
    assert found["1", "run", ""] == "a_b|c"
    assert found["1", "MBPP", "base"] == "81.25"
    assert found["1", "95 %", "high"] == "0.9"
    assert found["2", "MBPP", "plus"] == "68.5"
    assert found["3", "rate", ""] == "0"
    assert ("2", "rate", "") not in found
    assert {row["section"] for row in rows if row["row"] == "1"} == {"Ours"}
    assert {row["table"] for row in rows} == {"runs"}


def test_latex_prints_special_characters():
    text = to_latex([TABLE])
    assert "\\begin{longtable}{lrrr}" in text
    assert "a\\_b\\textbar{}c & 81.2 (70.0) & 81.2\\% & 70.0\\% to 90.0\\% \\\\" in text
    assert "\\multicolumn{4}{l}{\\textbf{Others}} \\\\" in text
    assert "Of 100 \\% \\& more." in text
    assert text.count("\\begin{") == text.count("\\end{")


def test_a_line_break_in_a_cell_stays_in_its_row():
    table = Table("t", "T", [Column("a")], [Section("", [["one\ntwo"]])])
    assert "| one two |" in to_markdown([table], "T")
    assert "one two \\\\" in to_latex([table])


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (count(""), 26909, "26,909"),
        (points(""), -0.0903, "-9.0"),
        (points(""), 0.5, "+50.0"),
        (probability(""), 0.00349, "0.0035"),
        (probability(""), 1e-9, "< 0.0001"),
        (percent(""), None, "-"),
    ],
)
def test_cells(column, value, text):
    assert column.text(value) == text


def test_columns_without_a_value_can_be_left_out():
    table = Table("t", "T", [Column("a"), Column("b")], [Section("", [["x", None], ["y", None]])])
    assert [column.name for column in table.without_empty_columns().columns] == ["a"]
