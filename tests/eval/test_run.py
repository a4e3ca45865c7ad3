"""eval.run as a user starts it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocijax.judge.task import write_tasks
from ocijax.report.runs import find_runs
from tests.refine.conftest import make_task
from tests.sample.fake_endpoint import endpoint

TASKS = 12


def program(amount: int) -> str:
    return f"def solve(x):\n    return x + {amount}\n"


@pytest.fixture(scope="module")
def tasks_file(tmp_path_factory) -> Path:
    """A file of tasks of which the last has no public test."""
    path = tmp_path_factory.mktemp("benchmark") / "adding.jsonl"
    write_tasks(path, [make_task(number, number < TASKS - 1) for number in range(TASKS)])
    return path


@pytest.fixture
def samples(tmp_path) -> Path:
    """Right programs for the even tasks, wrong ones for the odd, and one for no task."""
    path = tmp_path / "samples.jsonl"
    rows = [
        {"task_id": f"add/{number}", "solution": program(number + number % 2)}
        for number in range(TASKS)
    ]
    rows.append({"task_id": "other/1", "solution": "x"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def start(*flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "eval.run", *flags],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*flags: str) -> str:
    """What it prints."""
    child = start(*flags)
    out, error = child.communicate()
    assert child.returncode == 0, error
    return out


def refusal(*flags: str) -> str:
    """The one line with which it ends."""
    child = start(*flags)
    out, error = child.communicate()
    assert (child.returncode, out) == (1, "")
    assert error.count("\n") == 1
    return error.rstrip("\n")


def rows(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def test_a_samples_file_is_scored(tasks_file, samples, tmp_path):
    workdir = tmp_path / "run"
    out = run(f"--samples={samples}", f"--benchmark={tasks_file}", f"--workdir={workdir}")
    assert out == (
        "benchmark  protocol  passed   rate  95 % interval  attempts  tokens\n"
        "adding     single      6/12  50.0%  25.4% - 74.6%        12       0\n"
    )
    [summary] = json.loads((workdir / "summary.json").read_text())
    assert (summary["tasks"], summary["passed"]) == (12, 6)
    assert {row["task_id"] for row in rows(workdir) if row["passed_base"]} == {
        f"add/{number}" for number in range(0, TASKS, 2)
    }


def test_programs_may_import_numpy(tasks_file, tmp_path):
    path, workdir = tmp_path / "samples.jsonl", tmp_path / "run"
    solution = "import numpy\ndef solve(x):\n    return numpy.sum([x, 1])\n"
    path.write_text(json.dumps({"task_id": "add/1", "solution": solution}) + "\n")
    run(f"--samples={path}", f"--benchmark={tasks_file}", f"--workdir={workdir}")
    assert [row["passed_base"] for row in rows(workdir)] == [True]


@pytest.mark.parametrize(("tasks", "count"), [("3", 3), ("add/1,add/4", 2)])
def test_some_tasks_can_be_chosen(tasks_file, samples, tmp_path, tasks, count):
    flags = (f"--samples={samples}", f"--benchmark={tasks_file}", f"--tasks={tasks}")
    run(*flags, f"--workdir={tmp_path / 'run'}")
    assert len(rows(tmp_path / "run")) == count


def test_judging_samples_needs_no_jax(tasks_file, samples, tmp_path):
    flags = (f"--samples={samples}", f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}")
    child = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "eval.run", *flags],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in child.stderr.splitlines()}
    assert "ocijax.judge.checker" in modules
    assert not modules & {"jax", "jaxlib", "evalplus"}


CLIENTS = {"openai", "anthropic", "google", "boto3", "vllm", "transformers", "torch", "datasets"}


def test_humaneval_is_judged_without_any_client_of_a_model(tmp_path, monkeypatch):
    problem = {
        "task_id": "HumanEval/0",
        "prompt": 'def twice(x):\n    """>>> twice(2)\n    4\n    """\n',
        "entry_point": "twice",
        "canonical_solution": "    return 2 * x\n",
        "base_input": [[1]],
        "plus_input": [[3]],
        "atol": 0,
    }
    sample = {"task_id": "HumanEval/0", "completion": "    return x + x\n"}
    for name, row in {"problems": problem, "samples": sample}.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", str(tmp_path / "problems.jsonl"))
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path / "cache"))
    program = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "runpy.run_module('eval.run', run_name='__main__')"
    )
    flags = (f"--samples={tmp_path / 'samples.jsonl'}", f"--workdir={tmp_path / 'run'}")
    child = subprocess.run(
        [sys.executable, "-c", program, "--benchmark=humaneval", *flags],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(child.stderr.split())
    assert "ocijax.judge.evalplus" in modules
    assert not modules & (CLIENTS | {"evalplus", "jax"})
    assert [row["passed_plus"] for row in rows(tmp_path / "run")] == [True]


def test_the_evaluator_counts_and_is_recorded(tmp_path):
    path, workdir = tmp_path / "samples.jsonl", tmp_path / "run"
    task = {
        "task_id": "root/1",
        "instruction": "Find a root.",
        "entry_point": "root",
        "suites": {
            "base": {"tests": [{"arguments": [[-1.0, 1.0]], "expected": 1.0}], "oracle": "root"}
        },
    }
    (tmp_path / "roots.jsonl").write_text(json.dumps(task) + "\n")
    path.write_text(json.dumps({"task_id": "root/1", "solution": "def root(x): return 1.0"}) + "\n")
    flags = (f"--samples={path}", f"--benchmark={tmp_path / 'roots.jsonl'}")
    run(*flags, f"--workdir={workdir}", "--evaluator=evalplus-0.3.1")
    assert [row["passed_base"] for row in rows(workdir)] == [False]
    assert json.loads((workdir / "settings.json").read_text())["evaluator"] == "evalplus-0.3.1"
    assert "belongs to a run with evaluator=" in refusal(*flags, f"--workdir={workdir}")


def test_a_checkpoint_is_measured(tasks_file, checkpoint, tmp_path):
    workdir = tmp_path / "run"
    flags = (f"--benchmark={tasks_file}", f"--workdir={workdir}", "--max_new_tokens=16")
    run(f"--checkpoint={checkpoint}", "--protocol=execution", *flags)
    [summary] = json.loads((workdir / "summary.json").read_text())
    assert (summary["tasks"], summary["protocol"]) == (TASKS, "execution")
    assert summary["attempts"] == sum(row["rounds"] for row in rows(workdir)) == 2 * TASKS
    assert summary["generated_tokens"] <= 16 * summary["attempts"]
    assert all(len(row["conversation"]["messages"]) == 4 for row in rows(workdir))


def test_a_workdir_belongs_to_one_checkpoint_and_way_to_load_it(
    tasks_file, checkpoint, write_checkpoint, tmp_path
):
    folder, workdir = tmp_path / "model", tmp_path / "run"
    shutil.copytree(checkpoint, folder)
    flags = (
        *(f"--checkpoint={folder}", f"--benchmark={tasks_file}", "--tasks=1"),
        *(f"--workdir={workdir}", "--max_new_tokens=4"),
    )
    run(*flags)
    recorded = json.loads((workdir / "settings.json").read_text())
    assert recorded["loading"]["dtype"] == "float32"
    refused = f"error: --workdir={workdir}: belongs to a run with "
    assert refusal(*flags, "--int8_weights") == (
        f"{refused}loading.int8_weights=False, not True; choose another"
    )
    moved = folder.rename(tmp_path / "moved")
    before = rows(workdir)
    run(*flags, f"--checkpoint={moved}", "--dtype=float32")
    assert rows(workdir) == before
    write_checkpoint(folder, seed=1)
    assert refusal(*flags).startswith(f"{refused}model_sha256=")


def test_hosts_share_the_tasks(tasks_file, tmp_path):
    pytest.importorskip("openai", reason="openai, the client of endpoints, is absent")

    def reply(content):
        return f"```python\n{program(int(content.split()[-1].rstrip('.')))}```"

    with endpoint(lambda request, number: (200, {}), reply) as url:
        flags = (f"--endpoint={url}", "--endpoint_model=some", f"--benchmark={tasks_file}")
        for host in range(3):
            workdir = tmp_path / "runs" / str(host)
            run(*flags, "--hosts=3", f"--host={host}", f"--workdir={workdir}")
            assert len(rows(workdir)) == TASKS // 3
        message = refusal(*flags, "--hosts=3", "--host=0", f"--workdir={workdir}")
    assert "belongs to a run with part='2 of 3', not '0 of 3'" in message
    [whole] = find_runs([tmp_path / "runs"])
    assert (whole.finished, len(whole.rows)) == (True, TASKS)


def test_hosts_share_the_judging_of_samples(tasks_file, samples, tmp_path):
    flags = (f"--samples={samples}", f"--benchmark={tasks_file}", "--hosts=2")
    for host in range(2):
        run(*flags, f"--host={host}", f"--workdir={tmp_path / 'runs' / str(host)}")
    [whole] = find_runs([tmp_path / "runs"])
    assert (whole.finished, len(whole.rows)) == (True, TASKS)


def test_what_an_endpoint_answered_before_it_died_is_not_asked_again(tasks_file, tmp_path):
    pytest.importorskip("openai", reason="openai, the client of endpoints, is absent")
    answered = []

    def behave(request, number):
        if number == 5:
            return 401, {}
        answered.append(request["messages"][0]["content"])
        return 200, {}

    def reply(content):
        return f"```python\n{program(int(content.split()[-1].rstrip('.')))}```"

    with endpoint(behave, reply) as url:
        flags = (
            *(f"--endpoint={url}", "--endpoint_model=some", "--batch_size=1"),
            *(f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}"),
        )
        _, error = start(*flags).communicate()
        assert error.splitlines()[-1].startswith(f"error: {url}: conversation add/5: ")
        run(*flags)
    assert len(answered) == len(set(answered)) == TASKS
    [summary] = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["passed"] == TASKS


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_goes_on_where_it_was(tasks_file, samples, tmp_path, number):
    # Slow enough to be ended half way.
    slow = [json.loads(line) for line in samples.read_text().splitlines()]
    slow = [row | {"solution": f"import time\ntime.sleep(0.3)\n{row['solution']}"} for row in slow]
    samples.write_text("".join(json.dumps(row) + "\n" for row in slow))
    workdir = tmp_path / "run"
    flags = (f"--samples={samples}", f"--benchmark={tasks_file}", f"--workdir={workdir}")
    child = start(*flags)
    results = workdir / "results.jsonl"
    while not (results.exists() and results.read_text().count("\n") >= 2):
        assert child.poll() is None, child.communicate()
        time.sleep(0.002)
    child.send_signal(number)
    _, error = child.communicate()
    if number == signal.SIGINT:
        assert error.endswith("\nstopped; run the same command again to go on\n")
    before = results.read_text().rpartition("\n")[0]
    assert before.count("\n") < TASKS - 1
    run(*flags)
    assert results.read_text().startswith(before)
    assert sorted(row["task_id"] for row in rows(workdir)) == sorted(
        f"add/{number}" for number in range(TASKS)
    )


def test_another_runs_workdir_is_refused(tasks_file, samples, tmp_path):
    flags = (f"--samples={samples}", f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}")
    run(*flags)
    assert refusal(*flags, "--tasks=3") == (
        f"error: --workdir={tmp_path / 'run'}: belongs to a run with tasks=12, not 3; "
        "choose another"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give one of --checkpoint=DIR, --endpoint=URL and --samples=FILE"),
        (
            ("--checkpoint=a", "--samples=b"),
            "give one of --checkpoint=DIR, --endpoint=URL and --samples=FILE",
        ),
        (
            ("--endpoint=http://a/v1",),
            "--endpoint and --endpoint_model belong together; give both",
        ),
        (
            ("--endpoint=http://a/v1", "--endpoint_model=b", "--draft_tokens=3"),
            "--draft_tokens: is for a --checkpoint; leave it out",
        ),
        (("--samples=b", "--template=chatml"), "--template: is for a --checkpoint; leave it out"),
        (
            ("--samples=b", "--protocol=execution"),
            "--protocol=execution: a samples file holds finished answers; only a --checkpoint or "
            "an --endpoint can repair them",
        ),
        (
            ("--checkpoint=a", "--protocol=resample"),
            "protocol resample: at temperature 0 every answer is the same; give a --temperature",
        ),
        (("--samples=absent.jsonl",), "absent.jsonl: cannot read it: No such file or directory"),
        (("--checkpoint=a", "--tasks=0"), "--tasks=0: give a number of at least 1, or ids"),
        (("--checkpoint=a", "--hosts=2", "--host=2"), "--host=2: must be from 0 to 1"),
        (
            ("--checkpoint=a", "--oracle_tests=base", "--protocol=execution"),
            "--oracle_tests: --protocol=execution shows none; leave it out",
        ),
    ],
)
def test_wrong_flags_are_refused_in_one_line(tasks_file, tmp_path, flags, message):
    line = refusal(*flags, f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}")
    assert line == f"error: {message}"
    assert not (tmp_path / "run").exists()


ANSWERING = (
    *("--prompts=paper", "--sanitizer=paper", "--rounds=2", "--samples_per_task=2"),
    *("--max_new_tokens=9", "--temperature=0", "--top_p=0.5", "--top_k=1", "--seed=0"),
    *("--stop=END", "--batch_size=1"),
)


def test_flags_of_answering_are_not_for_samples(tasks_file, tmp_path):
    flags = ("--samples=b", f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}")
    for flag, child in [(flag, start(*flags, flag)) for flag in ANSWERING]:
        name = flag.partition("=")[0]
        assert child.communicate() == (
            "",
            f"error: {name}: a samples file holds programs, no answers; leave it out\n",
        )


def test_a_malformed_sample_is_named_by_file_and_line(tasks_file, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"task_id": "add/1", "solution": "x"}\n{"task_id": "add/2"}\n')
    flags = (f"--samples={path}", f"--benchmark={tasks_file}", f"--workdir={tmp_path / 'run'}")
    assert refusal(*flags).startswith(f"error: {path}:2: ")
