"""Outputs as large as those of the benchmarks: exact, and in bounded memory of our own."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from ocijax.judge import evalplus
from tests.judge.conftest import suite, task

MEGABYTE = 1 << 20

MEASURED = """
import asyncio, json, sys
from ocijax.judge import evalplus
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.checker import check
from ocijax.sandbox import Limits, Sandbox

name, task_id, isolation, *programs = sys.argv[1:]
sandbox = Sandbox(Limits(cpu_seconds=600.0), isolation)

def most_held():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10

async def passed(task, program):
    verdict = await check(sandbox, task, program)
    return verdict.passed_base and verdict.passed_plus

async def judge():
    await sandbox.call("def f(): return 1", "f", [()])
    before = most_held()
    [task] = (await load_benchmark(name, sandbox, [task_id])).tasks
    verdicts = [await passed(task, program) for program in programs]
    return {"verdicts": verdicts, "held": most_held() - before}

print(json.dumps(asyncio.run(judge())))
"""
"""Judges programs in a process of its own, and says how much memory that came to hold."""


@pytest.fixture
def measured(sandbox, tmp_path, monkeypatch):
    """Verdicts on programs for a task of a file, and the most bytes that the judge held for it."""
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path))

    def measured(name, task_id, file, *programs):
        monkeypatch.setenv(evalplus.OVERRIDES[name], str(file))
        command = [sys.executable, "-c", MEASURED, name, task_id, sandbox.isolation]
        done = subprocess.run([*command, *programs], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found["verdicts"], found["held"]

    return measured


@pytest.mark.parametrize("size", [9, 261])
def test_an_output_of_many_megabytes_is_judged_in_a_few(measured, tmp_path, size):
    prompt = 'def rows(count):\n    """Gives rows of letters."""\n'
    right = '    return [("ab" * 2048, index, index / 2) for index in range(count)]\n'
    row = {
        "task_id": "HumanEval/7000",
        "prompt": prompt,
        "entry_point": "rows",
        "canonical_solution": right,
        "base_input": [[1]],
        "plus_input": [[size << 8]],
        "atol": 0,
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    wrong = [
        f"{prompt}{right}".replace("index / 2)", "index / 2 + (index == count - 1 > 0))"),
        f"{prompt}{right}".replace("range(count)", "range(max(1, count - 1))"),
    ]
    verdicts, held = measured("humaneval", "HumanEval/7000", file, prompt + right, *wrong)
    assert verdicts == [True, False, False]
    assert held < 64 * MEGABYTE


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "task_id", "file"),
    [
        ("humaneval", "HumanEval/130", "humanevalplus/HumanEvalPlus.jsonl.gz"),
        ("mbpp", "Mbpp/255", "mbppplus/MbppPlus.jsonl.gz"),
    ],
)
def test_the_largest_outputs_of_the_benchmarks_are_judged_in_a_few_megabytes(
    data_dir, measured, name, task_id, file
):
    problems = evalplus.read_problems(name, data_dir / file)
    [problem] = [one for one in problems if one.task_id == task_id]
    right = problem.prompt + problem.canonical_solution
    wrong = f"{right}\n_right = {problem.entry_point}\n" + (
        f"def {problem.entry_point}(*arguments):\n"
        "    result = list(_right(*arguments))\n"
        "    return result[:-1] if len(result) > 1000 else result\n"
    )
    verdicts, held = measured(name, task_id, data_dir / file, right, wrong)
    assert verdicts == [True, False]
    assert held < 256 * MEGABYTE


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("10**5000", "10**5000 + 1"),
        ("-(3**40000)", "3**40000"),
        ("{10**5000: 'a'}", "{10**5000 + 1: 'a'}"),
        ("{1, (2, 'a'), None}", "{1, (2, 'b'), None}"),
        ("complex(0.1, -2)", "complex(0.1, 2)"),
        ("Counter('abracadabra')", "Counter('abracadabre')"),
        ("[2**53 + 1, 1e300, 5e-324]", "[float(2**53), 1e300, 5e-324]"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "[{}, 'x' * (2 << 20)]"], ids=["whole", "by its digest"])
def test_an_output_is_compared_exactly(judge, form, right, wrong):
    expected = eval(form.format(right), {"Counter": Counter})
    exactly = task(suite(((True,), expected), ((False,), expected)))
    program = "from collections import Counter\ndef f(first): return {} if first else {}"
    both = program.format(form.format(right), form.format(right))
    assert judge.check(exactly, both).passed_base
    verdict = judge.check(exactly, program.format(form.format(right), form.format(wrong)))
    assert verdict.suites["base"].case == exactly.suites["base"].cases[1]
