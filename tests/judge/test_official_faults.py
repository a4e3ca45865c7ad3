"""Faults of the checker in the paper's own code, which ours has not: one test each."""

import asyncio
import json

import pytest

from ocijax.judge import evalplus
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.task import Task, TestCase
from ocijax.refine.feedback import OURS, public_feedback
from ocijax.sandbox import Limits
from tests.judge.conftest import suite

FILES = {
    "humaneval": "humanevalplus/HumanEvalPlus.jsonl.gz",
    "mbpp": "mbppplus/MbppPlus.jsonl.gz",
}
SETS = (2, 7, 111, 140, 232, 579, 769)
INTERSECTION = {  # in MBPP+ 0.1.0 only
    "task_id": "Mbpp/249",
    "prompt": '"""\nIntersect.\nassert intersection_array([1, 2, 3], [3, 2]) == [3, 2]\n"""\n',
    "entry_point": "intersection_array",
    "canonical_solution": "def intersection_array(a, b):\n    return [x for x in b if x in a]\n",
    "base_input": [[[1, 2, 3], [3, 2]]],
    "plus_input": [[[1, 2, 3, 4], [4, 1, 2]]],
    "atol": 0,
}
"""The eighth task whose outputs are sets."""


@pytest.fixture
def official(data_dir, sandbox, tmp_path, monkeypatch):
    """Gives tasks of a benchmark, or of another file, each with its canonical solution."""

    def load(name, ids=None, file=None):
        file = file or data_dir / FILES[name]
        monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path))
        monkeypatch.setenv(evalplus.OVERRIDES[name], str(file))
        programs = {
            problem.task_id: problem.prompt + problem.canonical_solution
            for problem in evalplus.read_problems(name, file)
        }
        benchmark = asyncio.run(load_benchmark(name, sandbox, ids))
        return [(task, programs[task.task_id]) for task in benchmark.tasks]

    return load


@pytest.fixture
def told(judge):
    """The feedback that the loop gives for a program on a task to define ``f``."""

    def tell(program):
        task = Task(
            "test/0",
            "Define f.",
            "f",
            public_tests=(TestCase((1,), 2),),
            suites={"base": suite(((1,), 2))},
        )
        result = judge.run_public(task, program)
        return public_feedback(task, result)

    return tell


def test_the_root_of_humaneval_32_can_pass_and_a_wrong_one_is_told_as_wrong(official, judge):
    [(task, program)] = official("humaneval", ["HumanEval/32"])
    assert judge.check(task, program).passed_plus
    assert judge.run_public(task, program).passed
    result = judge.run_public(task, f"{program}\ndef find_zero(xs): return 1e6\n")
    feedback = public_feedback(task, result)
    assert feedback.startswith(f"{OURS.label}AssertionError: wrong output")
    assert "iterable" not in feedback


def test_the_loop_too_compares_the_outputs_of_eight_mbpp_tasks_as_sets(official, judge, tmp_path):
    file = tmp_path / "MbppPlus.jsonl"
    file.write_text(json.dumps(INTERSECTION) + "\n")
    tasks = official("mbpp", [f"Mbpp/{number}" for number in SETS]) + official("mbpp", None, file)
    assert len(tasks) == 8
    for task, program in tasks:
        name = task.entry_point
        turned = f"_right = {name}\ndef {name}(*a): return list(_right(*a))[::-1]"
        assert judge.run_public(task, f"{program}\n{turned}\n").passed
        assert judge.check(task, f"{program}\n{turned}\n").passed_plus


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_feedback_is_not_empty_where_the_process_is_killed(told, how):
    program = f"import os, signal\ndef f(x): os.kill(os.getpid(), signal.{how})"
    assert "The program crashed: its process was killed." in told(program)


def test_feedback_keeps_letters_beyond_ascii(told):
    message = "Überlauf: 数が大きすぎる 🐍 " * 8
    assert message in told(f"def f(x): raise ValueError({message!r})")


def test_memory_is_limited_as_in_evalplus(told):
    assert Limits().memory_bytes == 4 << 30
    assert OURS.memory in told("def f(x): return len(bytearray(8 << 30))")
