"""Our verdicts beside those of EvalPlus 0.3.1, as tests/golden/make_evalplus.py recorded them."""

import asyncio
import json
from pathlib import Path

import pytest

from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.checker import check
from ocijax.sandbox import Sandbox

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "evalplus.json").read_text())
FILES = {
    "humaneval": "humanevalplus/HumanEvalPlus.jsonl.gz",
    "mbpp": "mbppplus/MbppPlus.jsonl.gz",
}


def name(row):
    return f"{row['task_id']} {row['what']}"


@pytest.fixture(scope="module")
def with_numpy(sandbox):
    return Sandbox(isolation=sandbox.isolation, packages=["numpy"])


@pytest.fixture(scope="module")
def tasks(data_dir, with_numpy, tmp_path_factory):
    needed = {row["task_id"] for rows in GOLDEN.values() for row in rows}
    found = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OCIJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        for benchmark, file in FILES.items():
            environment.setenv(f"{benchmark.upper()}_OVERRIDE_PATH", str(data_dir / file))
            ids = [task_id for task_id in needed if task_id.lower().startswith(benchmark)]
            loaded = asyncio.run(load_benchmark(benchmark, with_numpy, ids))
            found |= {task.task_id: task for task in loaded.tasks}
    return found


@pytest.fixture(scope="module")
def judged(tasks, with_numpy):
    def passed(row, *evaluator):
        task = tasks[row["task_id"]]
        verdict = asyncio.run(check(with_numpy, task, row["program"], *evaluator))
        return verdict.passed_base, verdict.passed_plus

    return passed


def expected(row):
    base = row["base"] == "pass"
    return base, base and row["plus"] == "pass"


@pytest.mark.parametrize("row", [*GOLDEN["same"][::8], GOLDEN["different"][0]], ids=name)
def test_the_verdict_asked_for_is_that_of_evalplus(judged, row):
    assert judged(row, "evalplus-0.3.1") == expected(row)


@pytest.mark.parametrize("row", GOLDEN["same"], ids=name)
def test_the_verdict_is_that_of_evalplus(judged, row):
    assert judged(row) == expected(row)


@pytest.mark.parametrize("row", GOLDEN["different"], ids=name)
def test_the_verdict_differs_where_evalplus_errs(judged, row):
    base = row["base"] != "pass"
    assert judged(row) == (base, base)
