import asyncio
import gzip
import hashlib
import json

import pytest

from ocijax.errors import InputError
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.task import StdinTest, Suite, Task, TestCase, write_tasks

SUITE = Suite((TestCase((1,), 2),))
SHOWN = (TestCase((0,), 1),)
PROMPT = 'def increase(x):\n    """Adds one.\n    {}\n    """\n'


@pytest.fixture
def load(sandbox):
    def load_now(name, tasks=None, **arguments):
        return asyncio.run(load_benchmark(str(name), sandbox, tasks, **arguments))

    return load_now


@pytest.fixture
def tasks_file(tmp_path):
    path = tmp_path / "sums.jsonl"
    tasks = [
        Task(name, "Add one.", "increase", public_tests=shown, suites={"base": SUITE})
        for name, shown in {"sum/0": SHOWN, "sum/1": (), "sum/2": SHOWN}.items()
    ]
    write_tasks(path, tasks)
    return path


@pytest.fixture
def evalplus_file(tmp_path, monkeypatch):
    """Three problems in EvalPlus's format, the last with a canonical solution that fails."""
    bodies = {
        "HumanEval/0": (">>> increase(1)\n    2", "    return x + 1"),
        "HumanEval/1": ("", "    return x + 1"),
        "HumanEval/2": ("", "    return 1 / 0"),
    }
    rows = [
        {
            "task_id": name,
            "prompt": PROMPT.format(example),
            "entry_point": "increase",
            "canonical_solution": body,
            "base_input": [[1], [5]],
            "plus_input": [[-1]],
            "atol": 0,
        }
        for name, (example, body) in bodies.items()
    ]
    path = tmp_path / "HumanEvalPlus.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", str(path))
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path / "cache"))
    return path


def names(benchmark):
    return [task.task_id for task in benchmark.tasks]


def test_a_file_of_tasks_is_a_benchmark_of_its_name(load, tasks_file):
    benchmark = load(tasks_file)
    assert (benchmark.name, benchmark.plus) == ("sums", None)
    assert benchmark.version == hashlib.md5(tasks_file.read_bytes()).hexdigest()
    assert names(benchmark) == ["sum/0", "sum/1", "sum/2"]


def test_a_file_by_the_name_of_one_of_evalplus_is_not_taken_for_it(load, tasks_file):
    path = tasks_file.rename(tasks_file.with_name("mbpp.jsonl"))
    assert load(path).name == "mbpp.jsonl"


def test_a_file_has_a_plus_score_where_a_task_has_plus_tests(load, tmp_path):
    path = tmp_path / "hard.jsonl"
    suites = {"base": SUITE, "plus": SUITE}
    write_tasks(path, [Task("a", "Add one.", "increase", suites=suites)])
    assert load(path).plus == "hard+"


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (2, ["sum/0", "sum/1"]),
        (100, ["sum/0", "sum/1", "sum/2"]),
        (["sum/2", "sum/0"], ["sum/0", "sum/2"]),
    ],
)
def test_tasks_are_chosen_by_number_or_id_in_the_order_of_the_file(
    load, tasks_file, wanted, chosen
):
    assert names(load(tasks_file, wanted)) == chosen


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (["sum/0", "sun/1"], r"sums\.jsonl: has no task 'sun/1'; the nearest is 'sum/1'"),
        (0, r"0 tasks of .*sums\.jsonl: ask for at least 1"),
    ],
)
def test_what_cannot_be_chosen_is_named(load, tasks_file, wanted, problem):
    with pytest.raises(InputError, match=problem):
        load(tasks_file, wanted)


def test_a_file_without_tasks_is_refused(load, tmp_path):
    path = tmp_path / "none.jsonl"
    path.write_text("\n")
    with pytest.raises(InputError, match=r"none\.jsonl: has no tasks"):
        load(path)


def test_what_is_neither_a_benchmark_nor_a_file_is_named(load):
    with pytest.raises(InputError, match="'humanevil': neither one of humaneval, mbpp nor a file"):
        load("humanevil")


def test_evalplus_expects_what_the_canonical_solution_gives(load, evalplus_file):
    benchmark = load("humaneval", 2)
    assert (benchmark.name, benchmark.plus) == ("humaneval", "humaneval+")
    unpacked = gzip.decompress(evalplus_file.read_bytes())
    assert benchmark.version == hashlib.md5(unpacked).hexdigest()
    for task in benchmark.tasks:
        assert task.suites["base"].cases == (TestCase((1,), 2), TestCase((5,), 6))
        assert task.suites["plus"].cases == (TestCase((-1,), 0),)
    assert benchmark.tasks[0].public_tests == (TestCase((1,), 2),)
    assert [bool(task.public_tests) for task in benchmark.tasks] == [True, False]


def test_progress_counts_the_tasks_that_are_ready(load, evalplus_file):
    seen = []
    load("humaneval", 2, observe=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_only_chosen_canonical_solutions_run(load, evalplus_file):
    assert names(load("humaneval", ["HumanEval/1"])) == ["HumanEval/1"]
    with pytest.raises(InputError, match="HumanEval/2: its canonical solution fails"):
        load("humaneval")


def test_a_language_without_tools_is_refused_before_anything_is_asked(load, tmp_path, monkeypatch):
    def find(name):
        raise InputError(f"language {name}: no tool on this host: install it")

    monkeypatch.setattr("ocijax.judge.benchmark.find", find)
    suites = {"base": Suite((StdinTest("1", "2"),))}
    tasks = [
        Task(str(number), "Add.", suites=suites, language=name)
        for number, name in enumerate(["python", "rust", "rust"])
    ]
    path = tmp_path / "mixed.jsonl"
    write_tasks(path, tasks)
    assert names(load(path, 1)) == ["0"]
    with pytest.raises(InputError, match=r"mixed\.jsonl: task '1': language rust: no tool"):
        load(path)
