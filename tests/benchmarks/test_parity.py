"""Our verdicts beside EvalPlus's, whose place a stand-in takes."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.evalplus_peer import results_file
from benchmarks.parity import compare
from ocijax.judge.benchmark import Benchmark
from ocijax.sandbox.sandbox import Sandbox
from tests.refine.conftest import make_task

TASK = make_task(1)
WRONG = {"task_id": TASK.task_id, "solution": "def solve(x):\n    return x\n"}


@pytest.fixture
def patiences(monkeypatch, tmp_path) -> list[str]:
    """The patience of each run of EvalPlus, which lets everything pass."""
    asked = []

    def run(command, **_):
        options = dict(option.removeprefix("--").split("=") for option in command[3:])
        asked.append(options["patience"])
        verdict = {**WRONG, "base_status": "pass", "plus_status": "pass"}
        found = {"eval": {TASK.task_id: [verdict]}}
        results_file(Path(options["samples"])).write_text(json.dumps(found))
        return subprocess.CompletedProcess(command, 0)

    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"task_id": TASK.task_id}) + "\n")
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", str(problems))
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_verdicts_are_made_once_for_each_patience(patiences, tmp_path):
    benchmark = Benchmark("humaneval", "humaneval+", "1", [TASK])
    judged = [
        compare(benchmark, [WRONG], Sandbox(), tmp_path / "work", patience)
        for patience in (10.0, 10.0, 20.0)
    ]
    assert all(one.still_differ for [one] in judged)
    assert patiences == ["1.0", "10.0", "20.0"]
