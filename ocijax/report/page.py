"""The report as one HTML file that needs no network and no other file.

What models wrote is untrusted: it travels packed, as base64 of gzip of JSON, and the page's script
shows it as text only. The policy in the page's head allows nothing but that script and that style.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ocijax.report.error_kinds import KINDS, error_kind
from ocijax.report.plots import Plot
from ocijax.report.runs import Run, short_models
from ocijax.report.tables import Table
from ocijax.report.trajectories import OUTCOMES, outcome, turns

CHUNK = 200
"""Trajectories that are unpacked together, when one of them is looked at."""

_HERE = Path(__file__).parent
_ADDRESS = re.compile(r"https://[\w./-]*\w")


def to_html(
    title: str, runs: Sequence[Run], tables: Sequence[Table], plots: Sequence[Plot]
) -> Iterator[str]:
    """The page, part by part.

    Args:
      title: its heading.
      runs: whose trajectories can be read.
      tables: see `ocijax.report.contents.tables`.
      plots: see `ocijax.report.plots.plots`.
    """
    style, script = ((_HERE / name).read_text() for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    sections = [(table.name, table.title) for table in tables]
    sections[1:1] = [("plots", "Plots")] if plots else []
    sections.append(("trajectories", "Trajectories"))
    yield f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{_told(runs)}</p>
<nav aria-label="Sections">{_links(sections)}</nav>
</header>
<main>
"""
    for place, table in enumerate(tables):
        yield _table(table)
        if place == 0 and plots:
            yield _figures(plots)
    yield (_HERE / "reader.html").read_text()
    yield "</main>\n"
    yield from _packed_runs(runs)
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _source(text: str) -> str:
    """How a policy names a script or style by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _told(runs: Sequence[Run]) -> str:
    unfinished = [f"{run.name} ({run.progress})" for run in runs if not run.finished]
    said = f"{len(runs):,} run{'s' * (len(runs) != 1)}, "
    said += f"{sum(len(run.rows) for run in runs):,} trajectories"
    if unfinished:
        said += f"; unfinished: {', '.join(unfinished)}"
    return escape(f"{said}.")


def _links(sections: Iterable[tuple[str, str]]) -> str:
    return " ".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in sections)


def _table(table: Table) -> str:
    kinds = ["" if column.is_text else ' class="number"' for column in table.columns]
    lines = [
        f'<section id="{table.name}">',
        f"<h2>{escape(table.title)}</h2>",
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(table.title)}"><table>',
        "<thead><tr>",
        *(
            f'<th scope="col"{kind}>{escape(column.name)}</th>'
            for kind, column in zip(kinds, table.columns, strict=True)
        ),
        "</tr></thead>",
    ]
    for section in table.sections:
        lines.append("<tbody>")
        if section.heading:
            heading = escape(section.heading)
            lines.append(f'<tr><th colspan="{len(kinds)}" scope="rowgroup">{heading}</th></tr>')
        for row in section.rows:
            cells = zip(kinds, table.cells(row), strict=True)
            lines.append(
                f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in cells)}</tr>"
            )
        lines.append("</tbody>")
    lines.append("</table></div>")
    lines += [f'<p class="note">{_linked(note)}</p>' for note in table.notes]
    return "\n".join([*lines, "</section>\n"])


def _linked(note: str) -> str:
    return _ADDRESS.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', escape(note))


def _figures(plots: Sequence[Plot]) -> str:
    figures = [
        f"<figure><figcaption><b>{escape(plot.title)}</b> {escape(plot.note)}</figcaption>"
        f"{plot.svg}</figure>"
        for plot in plots
    ]
    opening = '<section id="plots">\n<h2>Plots</h2>\n<div class="figures">'
    return "\n".join([opening, *figures, "</div>\n</section>\n"])


# Trajectories: an index of all, unpacked at once, and the turns of CHUNK at a time.


def _packed_runs(runs: Sequence[Run]) -> Iterator[str]:
    rows = [(place, row) for place, run in enumerate(runs) for row in run.rows]
    kinds = list(KINDS)
    models = short_models(runs)
    index = {
        "runs": [
            {
                "name": run.name,
                "model": models[run.model],
                "protocol": run.protocol,
                "tests": run.shown_tests,
            }
            for run in runs
        ],
        "outcomes": OUTCOMES,
        "kinds": kinds,
        "chunk": CHUNK,
        "run": [place for place, _ in rows],
        "task": [row["task_id"] for _, row in rows],
        "sample": [row["sample"] for _, row in rows],
        "outcome": [OUTCOMES.index(outcome(row)) for _, row in rows],
        "errors": [
            sorted({kinds.index(kind) for kind in map(error_kind, row.get("attempts", ())) if kind})
            for _, row in rows
        ],
        "answers": [row["rounds"] for _, row in rows],
        "tokens": [row["generated_tokens"] for _, row in rows],
    }
    yield _packed("index", index)
    for begin in range(0, len(rows), CHUNK):
        told = [
            {"verdict": row.get("verdict", {}), "turns": turns(row)}
            for _, row in rows[begin : begin + CHUNK]
        ]
        yield _packed(f"chunk-{begin // CHUNK}", told)


def _packed(name: str, value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()
    return f'<script type="text/plain" id="{name}">{packed}</script>\n'
