"""Plots as SVG, drawn with classes whose colours the page gives, by day and by night."""

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

from ocijax.report.error_kinds import KINDS
from ocijax.report.measures import Interval, Round, cost, ended_with, errors_by_round, rounds, score
from ocijax.report.protocols import SHOWN_TESTS
from ocijax.report.runs import Run

SERIES = 8
"""Classes ``series-0`` and so on that lines go round in."""

_WIDTH = 680
_LABELS = 250  # of that, for the names of rows
_VALUES = 70  # and for what is written behind them
_ROW = 26
_TOP = 12
_LEGEND = 3  # names in a line


@dataclass(frozen=True)
class Plot:
    """A plot and what it shows, in words."""

    title: str
    svg: str
    note: str = ""


def plots(runs: Sequence[Run]) -> list[Plot]:
    """All plots that the runs have something for."""
    made = [_rates_plot(runs), *_rounds_plots(runs), _errors_plot(runs), _tokens_plot(runs)]
    return [plot for plot in made if plot is not None]


class _Drawing:
    """An SVG image that grows."""

    def __init__(self, title: str, height: float):
        self._root = ElementTree.Element(
            "svg", {"viewBox": f"0 0 {_WIDTH} {height:g}", "role": "img", "aria-label": title}
        )

    def add(self, tag: str, kind: str, text: str = "", tip: str = "", **places: float | str):
        element = ElementTree.SubElement(self._root, tag, {"class": kind})
        for name, value in places.items():
            shown = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
            element.set(name.replace("_", "-"), shown)
        element.text = text
        if tip:
            ElementTree.SubElement(element, "title").text = tip

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def legend(self, names: Sequence[tuple[str, str]], y: float) -> None:
        """A square of each class and what it stands for."""
        for place, (kind, name) in enumerate(names):
            x, line = 10 + place % _LEGEND * (_WIDTH / _LEGEND), y + place // _LEGEND * 20
            self.add("rect", kind, x=x, y=line, width=11, height=11, rx=2)
            self.add("text", "label", _short(name, 32), name, x=x + 17, y=line + 10)

    def svg(self) -> str:
        return ElementTree.tostring(self._root, encoding="unicode", short_empty_elements=False)


def _legend_height(names: Sized) -> float:
    return 20 * math.ceil(len(names) / _LEGEND)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _row_label(drawing: _Drawing, text: str, y: float) -> None:
    drawing.add(
        "text", "label end", _short(text, 36), text, x=_LABELS - 10, y=y + 4, text_anchor="end"
    )


def _share_axis(drawing: _Drawing, bottom: float, x0: float, x1: float) -> None:
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = x0 + share * (x1 - x0)
        drawing.line("grid", x, _TOP, x, bottom)
        drawing.add("text", "tick", f"{share:.0%}", x=x, y=bottom + 16, text_anchor="middle")


def _rates_plot(runs: Sequence[Run]) -> Plot | None:
    """Pass rates with their intervals, a line for each run and suite."""
    found = [(run, suite, score(run, field)) for run in runs for suite, field in run.suites.items()]
    found = [(run, suite, one) for run, suite, one in found if one is not None]
    if not found:
        return None
    title = "Pass rate of each run"
    bottom = _TOP + _ROW * len(found)
    drawing = _Drawing(title, bottom + 24)
    right = _WIDTH - _VALUES
    _share_axis(drawing, bottom, _LABELS, right)
    suites = list(dict.fromkeys(suite for _, suite, _ in found))
    many = len(suites) > 1
    for place, (run, suite, one) in enumerate(found):
        y = _TOP + _ROW * (place + 0.5)
        low, middle, high = (
            _LABELS + share * (right - _LABELS)
            for share in (one.wilson[0], one.rate, one.wilson[1])
        )
        kind = f"series-{suites.index(suite) % SERIES}"
        _row_label(drawing, f"{run.label} {suite}" if many else run.label, y)
        drawing.line(f"{kind} stroke", low, y, high, y)
        tip = f"{run.label}, {suite}: {one.rate:.1%} ({one.wilson[0]:.1%} to {one.wilson[1]:.1%})"
        drawing.add("circle", kind, tip=tip, cx=middle, cy=y, r=5)
        drawing.add("text", "value", f"{one.rate:.1%}", x=right + 12, y=y + 4)
    note = "Of all tasks, with 95 % Wilson intervals."
    return Plot(title, drawing.svg(), note)


def _rounds_plots(runs: Sequence[Run]) -> list[Plot]:
    """Pass rates by round, a plot for each suite and model whose runs have several rounds."""
    groups: dict[tuple[str, str, str], dict[str, list[Round]]] = {}
    for run in runs:
        for suite, field in run.suites.items():
            by_round = rounds(run, field)
            if by_round:
                key = suite, run.settings["version"], run.model
                groups.setdefault(key, {})[run.label] = by_round
    several = len({model for _, _, model in groups}) > 1
    return [
        _rounds_plot(f"Pass rate by round: {suite}{f', {model}' if several else ''}", lines)
        for (suite, _, model), lines in groups.items()
        if max(map(len, lines.values())) > 1
    ]


def _rounds_plot(title: str, lines: Mapping[str, Sequence[Round]]) -> Plot:
    height, left, right, bottom = 300, 56, _WIDTH - 30, 250
    last = max(map(len, lines.values()))
    drawing = _Drawing(title, height + _legend_height(lines))
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - _TOP)
        drawing.line("grid", left, y, right, y)
        drawing.add("text", "tick", f"{share:.0%}", x=left - 8, y=y + 4, text_anchor="end")
    step = (right - left) / last
    for number in range(1, last + 1):
        x = left + (number - 0.5) * step
        drawing.add("text", "tick", f"round {number}", x=x, y=bottom + 20, text_anchor="middle")
    for place, (name, by_round) in enumerate(lines.items()):
        kind = f"series-{place % SERIES}"
        # Beside each other, so that intervals do not cover one another.
        aside = (place - (len(lines) - 1) / 2) * min(14, step / (len(lines) + 1))
        points = []
        for one in by_round:
            x = left + (one.number - 0.5) * step + aside
            low, y, high = (
                bottom - share * (bottom - _TOP)
                for share in (one.interval[0], one.solved, one.interval[1])
            )
            drawing.line(f"{kind} stroke", x, low, x, high)
            tip = _told(name, one.number, one.solved, one.interval)
            drawing.add("circle", kind, tip=tip, cx=x, cy=y, r=4)
            points.append(f"{x:.1f},{y:.1f}")
        drawing.add("polyline", f"{kind} path", points=" ".join(points))
    names = [(f"series-{place % SERIES}", name) for place, name in enumerate(lines)]
    drawing.legend(names, bottom + 34)
    note = "Share of all tasks solved by the end of each round, with 95 % Wilson intervals."
    return Plot(title, drawing.svg(), note)


def _told(name: str, number: int, solved: float, interval: Interval) -> str:
    low, high = interval
    return f"{name}, round {number}: {solved:.1%} ({low:.1%} to {high:.1%})"


def _errors_plot(runs: Sequence[Run]) -> Plot | None:
    """How first answers ended, and last ones."""
    bars: list[tuple[str, Counter]] = []
    for run in runs:
        by_round = errors_by_round(run)
        if len(by_round) > 1:
            bars += [(f"{run.label}, first", by_round[0]), ("last", ended_with(run))]
        elif by_round:
            bars.append((run.label, by_round[0]))
    if not bars:
        return None
    kinds = [None, *(kind for kind in KINDS if any(counts[kind] for _, counts in bars))]
    title = "Errors before and after repair"
    bottom = _TOP + _ROW * len(bars)
    drawing = _Drawing(title, bottom + 36 + _legend_height(kinds))
    right = _WIDTH - _VALUES
    _share_axis(drawing, bottom, _LABELS, right)
    for place, (name, counts) in enumerate(bars):
        y, total, x = _TOP + _ROW * place, sum(counts.values()), float(_LABELS)
        _row_label(drawing, name, y + _ROW / 2)
        for kind in kinds:
            width = counts[kind] / total * (right - _LABELS)
            if width:
                tip = f"{name}: {kind or 'passed'}, {counts[kind]:,} of {total:,}"
                drawing.add(
                    "rect", _kind_class(kind), tip=tip, x=x, y=y + 4, width=width, height=_ROW - 8
                )
            x += width
        drawing.add("text", "value", f"{total:,}", x=right + 12, y=y + _ROW / 2 + 4)
    drawing.legend([(_kind_class(kind), kind or "passed") for kind in kinds], bottom + 30)
    return Plot(
        title,
        drawing.svg(),
        f"How the first and the last answer to each task did on the shown tests. {SHOWN_TESTS}",
    )


def _kind_class(kind: str | None) -> str:
    return "passed" if kind is None else f"kind-{list(KINDS).index(kind)}"


def _tokens_plot(runs: Sequence[Run]) -> Plot | None:
    """Tokens generated for each task solved, of the strictest suite."""
    bars = []
    for run in runs:
        suite, field = list(run.suites.items())[-1]
        each = cost(run, field).tokens_per_solved
        if each is not None:
            bars.append((run.label, suite, each))
    if not bars:
        return None
    title = "Tokens per solved task"
    most = max(each for _, _, each in bars)
    drawing = _Drawing(title, _TOP + _ROW * len(bars) + 8)
    for place, (name, suite, each) in enumerate(bars):
        y = _TOP + _ROW * place
        width = each / most * (_WIDTH - _VALUES - _LABELS)
        _row_label(drawing, name, y + _ROW / 2)
        drawing.add(
            "rect",
            "series-0",
            tip=f"{name}, {suite}: {each:,.0f}",
            x=_LABELS,
            y=y + 5,
            width=width,
            height=_ROW - 10,
            rx=2,
        )
        drawing.add("text", "value", f"{each:,.0f}", x=_LABELS + width + 12, y=y + _ROW / 2 + 4)
    return Plot(title, drawing.svg(), "Tokens of all answers, by tasks that passed every test.")
