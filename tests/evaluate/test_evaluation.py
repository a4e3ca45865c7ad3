"""An evaluation from tasks to summary, undisturbed, killed and gone on with."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ocijax.errors import InputError
from ocijax.evaluate.checkpoint import Loading
from ocijax.evaluate.evaluation import evaluate, judge_samples, read_budget
from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.judge.benchmark import Benchmark
from ocijax.judge.samples import Sample
from ocijax.sample.settings import SamplingSettings
from ocijax.sandbox.sandbox import Sandbox
from tests.evaluate.killed_run import BENCHMARK, SETTINGS, TASKS, chancy_answers, options
from tests.refine.conftest import Answers, answer, make_task, number_of, turn


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox()


def run(workdir: Path, protocol: str, generator, sandbox, **options):
    return evaluate(BENCHMARK, protocol, generator, sandbox, SETTINGS, workdir, **options)


def results(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def repairing() -> Answers:
    """Right first answers to the even tasks; the others are right once they were told how."""

    def reply(conversation):
        number = number_of(conversation)
        told = f"adds {number}" in conversation.messages[-1].content and turn(conversation)
        return answer(number if number % 2 == 0 or told else -1)

    return Answers(reply)


def test_single_answers_once(tmp_path, sandbox):
    generator = repairing()
    [summary] = run(tmp_path, "single", generator, sandbox, rounds=3)
    assert (summary.passed, summary.attempts) == (TASKS / 2, TASKS)


def test_execution_repairs(tmp_path, sandbox):
    [summary] = run(tmp_path, "execution", repairing(), sandbox)
    assert (summary.passed, summary.attempts) == (TASKS, TASKS * 1.5)


def test_scrambled_shows_feedback_but_never_the_tasks_own(tmp_path, sandbox):
    generator = repairing()
    [summary] = run(tmp_path, "scrambled", generator, sandbox)
    assert (summary.passed, summary.attempts) == (TASKS / 2, TASKS * 1.5)
    told = [one for one in generator.asked if turn(one)]
    assert len(told) == TASKS / 2
    for conversation in told:
        feedback = conversation.messages[-1].content
        assert feedback.startswith("Execution result:\nAssertionError: adds ")
        assert f"adds {number_of(conversation)}\n" not in feedback


def test_resample_asks_the_same_again_until_the_public_tests_pass(tmp_path, sandbox):
    generator = repairing()
    [summary] = run(tmp_path, "resample", generator, sandbox, rounds=3)
    assert (summary.passed, summary.attempts) == (TASKS / 2, TASKS / 2 * (1 + 3))
    assert all(len(conversation.messages) == 1 for conversation in generator.asked)
    assert len({settings.seed for _, settings in generator.calls}) == len(generator.calls)


def test_public_tests_end_it_and_hidden_tests_score(tmp_path, sandbox):
    # Right for the public test's argument 0, wrong for the hidden test's 10.
    generator = Answers(
        lambda one: f"```python\ndef solve(x):\n    return {number_of(one)} - x\n```"
    )
    [summary] = run(tmp_path, "execution", generator, sandbox)
    assert (summary.passed, summary.attempts) == (0, TASKS)


def test_a_row_holds_the_whole_trajectory(tmp_path, sandbox):
    run(tmp_path, "execution", repairing(), sandbox)
    row = next(row for row in results(tmp_path) if row["task_id"] == "add/3")
    feedback = "Execution result:\nAssertionError: adds 3\nInput: solve(0)\nExpected: 3\nActual: -1"
    assert row == {
        "task_id": "add/3",
        "sample": 0,
        "passed_base": True,
        "passed_plus": None,
        "verdict": {"base": "pass"},
        "program": "def solve(x):\n    return x + 3\n",
        "rounds": 2,
        "generated_tokens": len(answer(-1)) + len(answer(3)),
        "public_tests": 1,
        "attempts": [
            {
                "reply": answer(-1),
                "program": "def solve(x):\n    return x + -1\n",
                "passed": False,
                "feedback": feedback,
                "generated_tokens": len(answer(-1)),
                "finish_reason": "stop",
                "status": "ok",
                "afresh": False,
            },
            {
                "reply": answer(3),
                "program": "def solve(x):\n    return x + 3\n",
                "passed": True,
                "feedback": "",
                "generated_tokens": len(answer(3)),
                "finish_reason": "stop",
                "status": "ok",
                "afresh": False,
            },
        ],
        "conversation": {
            "id": "add/3",
            "messages": [
                {"role": "user", "content": "Write solve(x) that adds 3."},
                {"role": "assistant", "content": answer(-1)},
                {"role": "user", "content": feedback},
                {"role": "assistant", "content": answer(3)},
            ],
        },
    }


def test_the_summary_is_written(tmp_path, sandbox):
    [summary] = run(tmp_path, "execution", repairing(), sandbox)
    [row] = json.loads((tmp_path / "summary.json").read_text())
    assert row == {
        "benchmark": "adding",
        "protocol": "execution",
        "tasks": TASKS,
        "passed": TASKS,
        "pass_rate": 1.0,
        "ci_low": pytest.approx(TASKS / (TASKS + 1.959964**2)),
        "ci_high": 1.0,
        "attempts": TASKS * 3 // 2,
        "generated_tokens": summary.generated_tokens,
    }


def test_samples_of_a_task_are_independent(tmp_path, sandbox):
    generator = repairing()
    [summary] = run(tmp_path, "single", generator, sandbox, samples=2)
    assert (summary.tasks, summary.attempts) == (TASKS, 2 * TASKS)
    assert Counter((row["task_id"], row["sample"]) for row in results(tmp_path)) == Counter(
        (f"add/{number}", sample) for number in range(TASKS) for sample in range(2)
    )


def test_progress_is_told(tmp_path, sandbox):
    told = []
    run(tmp_path, "single", repairing(), sandbox, observe=lambda *counts: told.append(counts))
    assert told == [(done, TASKS) for done in range(TASKS + 1)]


def test_a_finished_run_asks_for_nothing(tmp_path, sandbox):
    first = run(tmp_path, "execution", repairing(), sandbox)
    before = results(tmp_path)
    generator = repairing()
    assert run(tmp_path, "execution", generator, sandbox) == first
    assert results(tmp_path) == before
    assert not generator.calls


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"protocol": "single"}, "protocol='execution', not 'single'"),
        ({"rounds": 3}, "rounds=2, not 3"),
        ({"samples": 2}, "samples=1, not 2"),
        ({"model": "b"}, "model='a', not 'b'"),
        ({"settings": SamplingSettings(seed=8)}, "sampling.seed=7, not 8"),
        ({"benchmark": Benchmark("adding", None, "2", BENCHMARK.tasks)}, "version='1', not '2'"),
        ({"benchmark": Benchmark("adding", None, "1", BENCHMARK.tasks[1:])}, "tasks=12, not 11"),
        ({"loading": Loading(dtype="bfloat16")}, "loading.dtype='float32', not 'bfloat16'"),
        ({"loading": Loading("", "float32", 2)}, "loading.tensor=1, not 2"),
        ({"loading": Loading("", "float32", 1, 7)}, "loading.draft_tokens=0, not 7"),
        (
            {"loading": Loading("", "float32", int8_cache=True)},
            "loading.int8_cache=False, not True",
        ),
    ],
)
def test_a_workdir_of_another_run_is_refused_naming_the_difference(
    tmp_path, sandbox, change, named
):
    options = {
        "benchmark": BENCHMARK,
        "protocol": "execution",
        "generator": repairing(),
        "sandbox": sandbox,
        "settings": SamplingSettings(seed=7),
        "workdir": tmp_path,
        "model": "a",
        "loading": Loading(dtype="float32"),
    }
    evaluate(**options)
    with pytest.raises(InputError) as refusal:
        evaluate(**options | change)
    assert str(refusal.value) == (
        f"--workdir={tmp_path}: belongs to a run with {named}; choose another"
    )


# Those that wait for others, or for an adviser; the soak kills them all.
_OFTEN_KILLED = ("scrambled", "human")


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param(name, marks=[] if name in _OFTEN_KILLED else pytest.mark.soak)
        for name in PROTOCOLS
    ],
)
def test_a_run_killed_again_and_again_ends_as_if_undisturbed(tmp_path, sandbox, protocol):
    undisturbed = run(
        tmp_path / "undisturbed", protocol, chancy_answers(), sandbox, **options(protocol)
    )
    workdir = tmp_path / "killed"
    chance = random.Random(protocol)
    deaths = 0
    while run_in_child(workdir, protocol, chance.randint(3, 6)):
        deaths += 1
    assert deaths >= 3
    assert by_task(workdir) == by_task(tmp_path / "undisturbed")
    for name in ("summary.json", "settings.json"):
        there = tmp_path / "undisturbed" / name
        assert (workdir / name).read_text() == there.read_text()
    calls = [json.loads(line)["call"] for line in (workdir / "answers.jsonl").open()]
    assert len(set(calls)) == len(calls)
    assert len(results(workdir)) == TASKS
    assert undisturbed[0].passed > 0


def by_task(workdir: Path) -> list[dict]:
    return sorted(results(workdir), key=lambda row: row["task_id"])


def run_in_child(workdir: Path, protocol: str, steps: int) -> bool:
    """Whether it was killed, after that many steps."""
    command = [sys.executable, "-m", "tests.evaluate.killed_run", str(workdir), protocol]
    status = subprocess.run([*command, str(steps)], check=False).returncode
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_samples_are_judged(tmp_path, sandbox):
    right = "def solve(x):\n    return x + 1\n"
    samples = [
        Sample("add/1", right, False),
        Sample("add/1", right.replace("1", "2"), False),
        Sample("add/2", right, False),
        Sample("absent/1", right, False),
    ]
    [summary] = judge_samples(BENCHMARK, samples, sandbox, tmp_path, source="a.jsonl")
    assert (summary.tasks, summary.passed, summary.protocol) == (2, 0.5, "single")
    judged = {(row["task_id"], row["sample"]): row["passed_base"] for row in results(tmp_path)}
    assert judged == {("add/1", 0): True, ("add/1", 1): False, ("add/2", 0): False}


def test_other_samples_need_another_workdir(tmp_path, sandbox):
    judge_samples(BENCHMARK, [Sample("add/1", "x", False)], sandbox, tmp_path)
    with pytest.raises(InputError, match="belongs to a run with programs="):
        judge_samples(BENCHMARK, [Sample("add/1", "y", False)], sandbox, tmp_path)


def test_samples_whose_tasks_were_corrected_need_another_workdir(tmp_path, sandbox):
    one, two = (f"def solve(x):\n    return x + {number}\n" for number in (1, 2))
    swapped = [Sample("add/2", one, False), Sample("add/1", two, False)]
    [summary] = judge_samples(BENCHMARK, swapped, sandbox, tmp_path)
    assert summary.passed == 0
    corrected = [Sample("add/1", one, False), Sample("add/2", two, False)]
    with pytest.raises(InputError, match="belongs to a run with programs="):
        judge_samples(BENCHMARK, corrected, sandbox, tmp_path)


def test_the_version_of_python_is_recorded(tmp_path, sandbox):
    run(tmp_path, "single", repairing(), sandbox)
    recorded = json.loads((tmp_path / "settings.json").read_text())["python"]
    assert recorded == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_hosts_judge_each_their_share_of_one_run(tmp_path, sandbox):
    samples = [Sample(f"add/{number}", "x", False) for number in range(TASKS)]
    programs = set()
    for host in range(3):
        judge_samples(BENCHMARK.share(host, 3), samples, sandbox, tmp_path / str(host))
        settings = json.loads((tmp_path / str(host) / "settings.json").read_text())
        assert settings["part"] == f"{host} of 3"
        programs.add(settings["programs"])
    shares = [{row["task_id"] for row in results(tmp_path / str(host))} for host in range(3)]
    assert sorted(map(len, shares)) == [TASKS // 3] * 3
    assert set().union(*shares) == {task.task_id for task in BENCHMARK.tasks}
    assert len(programs) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_host_without_a_task_has_an_empty_run(tmp_path, sandbox, protocol):
    idle = BENCHMARK.share(TASKS, TASKS + 1)
    generator = repairing()
    [summary] = evaluate(
        idle, protocol, generator, sandbox, SETTINGS, tmp_path, **options(protocol)
    )
    assert (summary.tasks, generator.calls, results(tmp_path)) == (0, [], [])


def test_a_host_without_a_sample_has_an_empty_run(tmp_path, sandbox):
    [summary] = judge_samples(
        BENCHMARK.share(1, 2), [Sample("add/0", "x", False)], sandbox, tmp_path
    )
    assert summary.tasks == 0


def test_the_budget_of_a_killed_run_is_that_of_its_whole_rows(tmp_path):
    row = {"task_id": "a", "sample": 0, "generated_tokens": 7}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + '\n{"task_id": "b", "sam')
    assert read_budget(tmp_path) == {("a", 0): 7}


def test_a_row_that_has_no_tokens_is_no_budget(tmp_path):
    row = {"task_id": "a", "sample": 0, "generated_tokens": "7"}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"results\.jsonl:1: no row of results"):
        read_budget(tmp_path)


def test_samples_of_another_benchmark_are_refused(tmp_path, sandbox):
    with pytest.raises(InputError, match=r"^a\.jsonl: has no sample of the 12 tasks of adding$"):
        judge_samples(BENCHMARK, [Sample("b/1", "x", False)], sandbox, tmp_path, source="a.jsonl")


def test_a_completion_goes_on_from_the_prompt(tmp_path, sandbox):
    task = make_task(1)
    prompted = Benchmark("adding", None, "1", [type(task)(**vars(task) | {"prompt": "def solve("})])
    completion = Sample("add/1", "x):\n    return x + 1\n", True)
    [summary] = judge_samples(prompted, [completion], sandbox, tmp_path)
    assert summary.passed == 1
