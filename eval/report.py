"""Reports on runs: tables, plots, and a page in which every trajectory can be read.

    python -m eval.report --runs=runs/first-humaneval,runs/second-humaneval --output=runs/report
    python -m eval.report --runs=runs/quickstart --output=runs/quickstart/report

`--runs` takes folders, with commas or repeated; every run of eval.run beneath one is reported,
those that are not finished as such. OUTPUT gets report.md, report.csv (every value, unrounded),
report.tex and report.html, one file that needs no network: plots, tables, and each trajectory turn
by turn with what changed from program to program. The tables have pass@k with intervals, published
results beside ours, what protocols and checkpoints differ by, pass rates and errors by round, which
errors were repaired, and what a solved task cost. It needs neither model nor sandbox.
"""

import sys
from pathlib import Path

from absl import flags

from ocijax.errors import InputError
from ocijax.program import run
from ocijax.report.files import write_report
from ocijax.report.runs import find_runs


def folders(values: list[str]) -> list[str]:
    """What --runs says.

    Raises:
      InputError: it names no folder.
    """
    found = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if not found:
        raise InputError("--runs: names no folder; give that of a run, or one above some")
    return found


def ks(values: list[str]) -> list[int]:
    """What --k says.

    Raises:
      InputError: there is something other than a number of at least 1.
    """
    for value in values:
        if not value.strip().isdecimal() or int(value) < 1:
            raise InputError(f"--k={value}: give numbers of at least 1, with commas")
    return sorted({int(value) for value in values})


def main() -> None:
    """Writes the report and says where."""
    values = flags.FLAGS
    wanted = ks(values.k)
    runs = find_runs(folders(values.runs))
    for one in runs:
        if not one.finished:
            print(f"unfinished: {one.name}, {one.progress}", file=sys.stderr)
    for path in write_report(runs, Path(values.output), title=values.title, ks=wanted):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    flags.DEFINE_multi_string("runs", None, "Folders of runs, or above them.", required=True)
    flags.DEFINE_string("output", None, "Folder of the report; made where absent.", required=True)
    flags.DEFINE_string("title", "Evaluation report", "Heading of the report.")
    flags.DEFINE_list("k", ["1", "10", "100"], "The k of pass@k, where there are samples enough.")
    run(main)
