"""eval.sweep as a user starts it."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.judge.task import write_tasks
from ocijax.report.runs import find_runs
from tests.refine.conftest import answer, make_task
from tests.sample.fake_endpoint import endpoint

pytest.importorskip("openai", reason="openai, the client of endpoints, is absent")

TASKS = 6


@pytest.fixture
def tasks_file(tmp_path) -> Path:
    path = tmp_path / "adding.jsonl"
    write_tasks(path, [make_task(number) for number in range(TASKS)])
    return path


def reply(asked: str) -> str:
    """Of the model: wrong at first for odd tasks. Of the adviser, whose question is a long one."""
    if "programmer" in asked:
        return "Add one less."
    number = int((re.findall(r"\d+", asked) or ["0"])[-1])
    return answer(number + number % 2)


def write_plan(tmp_path: Path, tasks_file: Path, url: str, name: str, **others) -> Path:
    lines = {
        "workdir": json.dumps(str(tmp_path / name)),
        "benchmarks": json.dumps([str(tasks_file)]),
        "protocols": json.dumps(list(PROTOCOLS)),
        "batch_size": "3",
        **others,
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items())
    text += "[sampling]\nmax_new_tokens = 64\n"
    text += "".join(
        f"[sampling.{protocol}]\ntemperature = 0.5\n"
        for protocol in ("resample", "resample_tokens")
    )
    text += f'[[endpoints]]\nurl = "{url}"\nmodel = "some"\n'
    text += f'[adviser]\nurl = "{url}"\nmodel = "wise"\n'
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return path


def start(plan: Path, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "eval.sweep", f"--plan={plan}", *flags],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(plan: Path, *flags: str) -> str:
    child = start(plan, *flags)
    out, error = child.communicate()
    assert child.returncode == 0, error
    return out


def results(workdir: Path) -> dict[str, list[dict]]:
    """The rows of each run, by protocol, in the order of the tasks."""
    found = {}
    for folder in workdir.iterdir():
        settings = json.loads((folder / "settings.json").read_text())
        rows = [json.loads(line) for line in (folder / "results.jsonl").open()]
        found.setdefault(settings["protocol"], [])
        found[settings["protocol"]] += rows
    return {name: sorted(rows, key=_place) for name, rows in found.items()}


def _place(row: dict) -> tuple:
    return row["task_id"], row["rounds"], json.dumps(row)


def succeed(request, number):
    return 200, {}


def test_every_combination_is_run_and_kept(tmp_path, tasks_file):
    with endpoint(succeed, reply) as url:
        out = run(write_plan(tmp_path, tasks_file, url, "sweep"))
    found = results(tmp_path / "sweep")
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(PROTOCOLS, TASKS)
    once, twice = (part.splitlines() for part in out.strip().split("\n\n"))
    assert (once[0], twice[0]) == (f"some at {url}, rounds: 1", f"some at {url}, rounds: 2")
    assert [line.split()[1] for line in once[2:]] == ["single"]
    told = [line.split()[1] for line in twice[2:]]
    assert sorted(told) == sorted(set(PROTOCOLS) - {"single"})


def test_a_changed_setting_makes_new_runs_and_leaves_the_old_ones(tmp_path, tasks_file):
    with endpoint(succeed, reply) as url:
        plan = {"protocols": '["single"]'}
        run(write_plan(tmp_path, tasks_file, url, "sweep", **plan))
        [before] = (tmp_path / "sweep").iterdir()
        kept = (before / "results.jsonl").read_text()
        run(write_plan(tmp_path, tasks_file, url, "sweep", **plan, prompts='"paper"'))
    assert len(list((tmp_path / "sweep").iterdir())) == 2
    assert (before / "results.jsonl").read_text() == kept


def test_equal_checkpoints_have_one_run(tmp_path, tasks_file, checkpoint):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'workdir = "{tmp_path / "sweep"}"\nbenchmarks = ["{tasks_file}"]\ntasks = 1\n'
        f'protocols = ["single"]\ncheckpoints = ["{checkpoint}", "{copy}"]\n'
        "[sampling]\nmax_new_tokens = 4\n[checkpoint]\nint8_cache = true\n"
    )
    titles = [part.partition("\n")[0] for part in run(plan).strip().split("\n\n")]
    assert titles == [f"{one} int8_cache=True, rounds: 1" for one in (checkpoint, copy)]
    [folder] = (tmp_path / "sweep").iterdir()
    recorded = json.loads((folder / "settings.json").read_text())
    assert (recorded["loading"]["int8_cache"], recorded["loading"]["dtype"]) == (True, "float32")


def test_done_again_it_asks_nothing(tmp_path, tasks_file):
    asked = Counter()

    def behave(request, number):
        asked.update([request["model"]])
        return 200, {}

    with endpoint(behave, reply) as url:
        plan = write_plan(tmp_path, tasks_file, url, "sweep")
        first = run(plan)
        before = asked.total()
        assert run(plan) == first
    assert asked.total() == before


def test_hosts_share_the_tasks(tmp_path, tasks_file):
    with endpoint(succeed, reply) as url:
        whole = write_plan(tmp_path, tasks_file, url, "whole", rounds="[2, 3]")
        shared = write_plan(tmp_path, tasks_file, url, "shared", rounds="[2, 3]")
        run(whole)
        for host in range(2):
            run(shared, "--hosts=2", f"--host={host}")
    assert results(tmp_path / "shared") == results(tmp_path / "whole")
    reported = find_runs([tmp_path / "shared"])
    twice = [one for one in PROTOCOLS if one != "single"]
    assert sorted(run.protocol for run in reported) == sorted(("single", *twice, *twice))
    assert all(run.finished and len(run.rows) == TASKS for run in reported)


def test_a_host_that_has_no_task_is_done_at_once(tmp_path, tasks_file):
    with endpoint(succeed, reply) as url:
        plan = write_plan(tmp_path, tasks_file, url, "sweep", tasks="1")
        for host in range(2):
            run(plan, "--hosts=2", f"--host={host}")
    reported = find_runs([tmp_path / "sweep"])
    assert sorted(run.protocol for run in reported) == sorted(PROTOCOLS)
    assert all(run.finished and len(run.rows) == 1 for run in reported)


@pytest.mark.parametrize("kills", [pytest.param(2), pytest.param(20, marks=pytest.mark.soak)])
def test_killed_at_random_it_ends_as_if_undisturbed(tmp_path, tasks_file, kills):
    asked: Counter[str] = Counter()

    def behave(request, number):
        time.sleep(0.05 if kills > 3 else 0.1)
        asked.update([json.dumps(request, sort_keys=True)])
        return 200, {}

    chance = random.Random(kills)
    with endpoint(behave, reply) as url:
        run(write_plan(tmp_path, tasks_file, url, "undisturbed"))
        plan = write_plan(tmp_path, tasks_file, url, "killed")
        for _ in range(kills):
            child = start(plan)
            # From before it has begun to after some results.
            time.sleep(chance.uniform(1.0, 3.5))
            child.send_signal(signal.SIGKILL)
            child.communicate()
        run(plan)
    killed = results(tmp_path / "killed")
    assert killed == results(tmp_path / "undisturbed")
    for rows in killed.values():
        assert len({row["task_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = [", "no TOML"),
        ('workdir = "a"', "plan.benchmarks: is missing"),
        (
            'workdir="a"\nbenchmarks=["b"]\nprotocols=["resample"]\ncheckpoints=["c"]',
            "at temperature 0 every answer is the same",
        ),
    ],
)
def test_a_plan_that_cannot_be_followed_is_one_line(tmp_path, text, problem):
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    child = start(plan)
    out, error = child.communicate()
    assert (child.returncode, out) == (1, "")
    assert error.count("\n") == 1
    assert f"--plan={plan}: " in error
    assert problem in error
