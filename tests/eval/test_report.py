"""eval.report as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.conftest import judged, row, write_run


def start(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "eval.report", *flags],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_of_which_somebody_reads_no_more_complains_of_nothing(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as unread:
        ended = subprocess.run(
            [sys.executable, "-m", "eval.report", "--help"],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=unread,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.stderr == ""


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs" / "a", [row("t/1", "wrong pass", True)])
    write_run(tmp_path / "runs" / "b", [judged("t/1", False)], protocol="single")
    return tmp_path / "runs"


def test_four_files_are_written_again_and_again(runs, tmp_path):
    output = tmp_path / "deep" / "report"
    for _ in range(2):
        ended = start(f"--runs={runs / 'a'},{runs / 'b'}", f"--output={output}", "--title=Mine")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert {path.name for path in output.iterdir()} == {
            f"report.{ending}" for ending in ("md", "csv", "tex", "html")
        }
    assert (output / "report.md").read_text().startswith("# Mine\n")
    assert ended.stdout.count("report.") == 4


def test_runs_may_be_repeated(runs, tmp_path):
    ended = start(f"--runs={runs / 'a'}", f"--runs={runs / 'b'}", f"--output={tmp_path / 'out'}")
    assert ended.returncode == 0
    assert "McNemar" in (tmp_path / "out" / "report.md").read_text()


def test_an_unfinished_run_is_told_and_reported(runs, tmp_path):
    write_run(tmp_path / "runs" / "c", [judged("t/1", True)], tasks=164, finished=False)
    ended = start(f"--runs={runs}", f"--output={tmp_path / 'out'}")
    assert (ended.returncode, ended.stderr) == (0, "unfinished: c, 1 of 164 tasks\n")
    assert "unfinished: 1 of 164 tasks" in (tmp_path / "out" / "report.md").read_text()


def test_a_report_needs_no_jax(runs, tmp_path):
    code = (
        "import sys; from ocijax.report.files import write_report; "
        "from ocijax.report.runs import find_runs; import pathlib; "
        f"write_report(find_runs([{str(runs)!r}]), pathlib.Path({str(tmp_path / 'out')!r})); "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runs={runs}/none"], "error: --runs={runs}/none: no such folder"),
        (["--runs=,"], "error: --runs: names no folder; give that of a run, or one above some"),
        (["--runs={runs}", "--k=1,x"], "error: --k=x: give numbers of at least 1, with commas"),
        (["--runs={runs}", "--k=0"], "error: --k=0: give numbers of at least 1, with commas"),
    ],
)
def test_wrong_flags_are_one_line(runs, tmp_path, flags, said):
    ended = start(*(one.format(runs=runs) for one in flags), f"--output={tmp_path / 'out'}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == said.format(runs=runs) + "\n"
    assert not (tmp_path / "out").exists()


def test_a_damaged_run_is_one_line_and_nothing_is_written(runs, tmp_path):
    (runs / "a" / "results.jsonl").write_text("{}\n")
    ended = start(f"--runs={runs}", f"--output={tmp_path / 'out'}")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: {runs}/a/results.jsonl:1: damaged: task_id is missing; "
        "leave the folder out of --runs\n"
    )
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_one_line(runs, tmp_path):
    (tmp_path / "file").write_text("")
    ended = start(f"--runs={runs}", f"--output={tmp_path / 'file' / 'out'}")
    assert ended.returncode == 1
    assert ended.stderr == f"error: --output={tmp_path}/file/out: cannot make it: Not a directory\n"
