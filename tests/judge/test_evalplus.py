import asyncio
import builtins
import gzip
import json
import os
import subprocess
import sys

import pytest

from ocijax.errors import InputError
from ocijax.judge import evalplus
from ocijax.judge.benchmark import load_benchmark
from ocijax.judge.checker import check
from ocijax.sandbox import Digest, Limits, Sandbox

ROW = {
    "task_id": "HumanEval/7000",
    "prompt": 'def twice(x):\n    """Doubles.\n    twice(2) == 4\n    twice(3) == 5\n    """\n',
    "entry_point": "twice",
    "canonical_solution": "    return x * 2\n",
    "base_input": [[1], ["ab"]],
    "plus_input": [[[1, 2]]],
    "atol": 0,
}


@pytest.fixture
def load(tmp_path, monkeypatch, sandbox):
    """Loads a benchmark from rows, with a cache of its own."""
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path / "cache"))

    def load(*rows, name="humaneval", inside=sandbox, **arguments):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setenv(evalplus.OVERRIDES[name], str(path))
        return asyncio.run(load_benchmark(name, inside, **arguments))

    return load


@pytest.fixture
def no_sandbox():
    """Refuses to run anything."""

    class Refusing(Sandbox):
        async def call(self, *arguments, **settings):
            raise AssertionError("something was run")

    return Refusing()


def test_expected_outputs_are_those_of_the_canonical_solution(load):
    [task] = load(ROW).tasks
    found = {name: [case.expected for case in suite.cases] for name, suite in task.suites.items()}
    assert found == {"base": [2, "abab"], "plus": [[1, 2, 1, 2]]}
    assert [case.arguments for case in task.suites["base"].cases] == [(1,), ("ab",)]


def test_public_tests_are_those_of_the_prompt_that_the_canonical_solution_passes(load):
    [task] = load(ROW).tasks
    assert [(test.arguments, test.expected) for test in task.public_tests] == [((2,), 4)]


def test_a_task_asks_for_a_program_and_shows_the_prompt(load):
    [task] = load(ROW).tasks
    assert ROW["prompt"].strip() in task.instruction
    assert (task.prompt, task.entry_point) == (ROW["prompt"], "twice")


def test_an_mbpp_prompt_is_shown_without_its_quotes(load):
    prompt = '"""\nWrite a function that doubles.\nassert twice(2) == 4\n"""\n'
    solution = "\ndef twice(x):\n    return x * 2\n"
    row = ROW | {"task_id": "Mbpp/7000", "prompt": prompt, "canonical_solution": solution}
    [task] = load(row, name="mbpp").tasks
    assert task.instruction.endswith("that doubles.\nassert twice(2) == 4")
    assert len(task.public_tests) == 1


def test_outputs_are_computed_once(load, no_sandbox):
    before = load(ROW)
    assert load(ROW, inside=no_sandbox) == before


def test_outputs_of_another_file_are_computed_anew(load):
    load(ROW)
    [task] = load(
        ROW | {"canonical_solution": "    return 2 * x + x[:0]\n", "base_input": [["c"]]}
    ).tasks
    assert [case.expected for case in task.suites["base"].cases] == ["cc"]


def test_nothing_is_computed_for_tasks_that_are_not_wanted(load):
    broken = ROW | {"task_id": "HumanEval/7001", "canonical_solution": "    return 1 / 0\n"}
    assert len(load(ROW, broken, tasks=1).tasks) == 1
    assert len(load(broken, ROW, tasks=["HumanEval/7000"]).tasks) == 1


def test_a_canonical_solution_that_fails_is_named(load):
    broken = ROW | {"canonical_solution": "    return 1 / 0\n"}
    with pytest.raises(InputError, match=r"HumanEval/7000: its canonical solution fails .*Zero"):
        load(broken)


def test_a_large_output_is_kept_as_its_digest(load, judge):
    row = ROW | {"canonical_solution": "    return [str(x)] * 500_000\n", "plus_input": []}
    [task] = load(row).tasks
    assert isinstance(task.suites["base"].cases[0].expected, Digest)
    program = "def twice(x): return [str(x) for _ in range({})]"
    assert judge.check(task, program.format(500_000)).passed_plus
    assert not judge.check(task, program.format(500_001)).passed_base


def test_the_reference_time_is_kept_for_each_input(load):
    [task] = load(ROW | {"canonical_solution": "    for _ in range(10**6): pass\n"}).tasks
    assert len(task.suites["base"].seconds) == 2
    assert min(task.suites["base"].seconds) > 0


def test_a_damaged_cache_is_named(load, tmp_path):
    load(ROW)
    [path] = (tmp_path / "cache").rglob("*.outputs")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"7000.outputs: cannot be read .* remove it"):
        load(ROW)


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(load, tmp_path):
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(InputError, match=r"set OCIJAX_CACHE to a folder"):
        load(ROW)


@pytest.mark.parametrize("damage", [{"base_input": 3}, {"atol": "x"}, {"task_id": 3}])
def test_a_row_that_is_none_of_evalplus_is_named_by_line(load, damage):
    with pytest.raises(InputError, match=r"rows.jsonl:2: not a row of EvalPlus"):
        load(ROW, ROW | damage)


def test_a_missing_file_is_named_with_its_variable(monkeypatch, tmp_path, sandbox):
    monkeypatch.setenv("MBPP_OVERRIDE_PATH", str(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match=r"MBPP_OVERRIDE_PATH=.*none.jsonl: there is no such file"):
        asyncio.run(load_benchmark("mbpp", sandbox))


def test_without_file_and_package_the_remedies_are_named(monkeypatch, sandbox):
    monkeypatch.delenv("HUMANEVAL_OVERRIDE_PATH", raising=False)
    importing = builtins.__import__

    def refuse(name, *arguments, **settings):
        if name.startswith("evalplus"):
            raise ImportError(name)
        return importing(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"set HUMANEVAL_OVERRIDE_PATH .* pip install"):
        asyncio.run(load_benchmark("humaneval", sandbox))


def test_a_packed_file_has_the_version_of_the_unpacked_one(tmp_path):
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(b"content\n")
    packed.write_bytes(gzip.compress(b"content\n"))
    assert evalplus.file_digest(plain) == evalplus.file_digest(packed)


def test_a_damaged_packed_file_is_named(tmp_path):
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(b"content\n" * 1000)[:-20])
    with pytest.raises(InputError, match=r"b.jsonl.gz: cannot read it"):
        evalplus.file_digest(path)


FILES = {
    "humaneval": ("humanevalplus/HumanEvalPlus.jsonl.gz", "fe585eb4df8c88d844eeb463ea4d0302"),
    "mbpp": ("mbppplus/MbppPlus.jsonl.gz", "ee43ecabebf20deef4bb776a405ac5b1"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_version_is_the_hash_that_published_results_carry(data_dir, name):
    file, version = FILES[name]
    assert evalplus.file_digest(data_dir / file) == version


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (2, ((3, 4, 5, 6), (5, 7, 4, 10))),
        (63, ([(3, 5), (1, 7), (10, 3), (1, 2)],)),
        (75, ([(6, 24, 12), (7, 9, 6), (12, 18, 21)], 6)),
        (106, ([5, 6, 7], (9, 10))),
        (124, (0.0, 1j)),
        (252, (1 + 0j,)),
        (259, (((1, 3), (4, 5), (2, 9), (1, 10)), ((6, 7), (3, 9), (1, 1), (7, 3)))),
        (580, ((4, 5, (7, 6, (2, 4)), 6, 8),)),
    ],
)
def test_arguments_have_the_types_that_json_lacks(data_dir, number, arguments):
    problems = evalplus.read_problems("mbpp", data_dir / FILES["mbpp"][0])
    [problem] = [one for one in problems if one.task_id == f"Mbpp/{number}"]
    assert repr(problem.base[0]) == repr(arguments)


OLD = {
    "Mbpp/164": ("def are_equivalent(a, b): return a == b", [[[36, 57]]], "are_equivalent"),
    "Mbpp/249": ("def intersection_array(a, b): return b", [[[[1], [1]]]], "intersection_array"),
    "Mbpp/295": ("def sum_div(n): return 1", [[[1]]], "sum_div"),
    "Mbpp/444": ("def trim_tuple(a, k): return str(a)", [[[[[1, 2]], 1]]], "trim_tuple"),
}
"""What tasks that MBPP+ 0.1.0 has beside those of 0.2.0 need: oracles and types of arguments."""


def test_tasks_of_an_older_mbpp_keep_their_oracles_and_types(load, judge):
    rows = [
        ROW
        | {"task_id": name, "prompt": '"""Do."""\n', "entry_point": entry_point}
        | {"canonical_solution": solution, "base_input": inputs, "plus_input": []}
        for name, (solution, [inputs], entry_point) in OLD.items()
    ]
    tasks = {task.task_id: task for task in load(*rows, name="mbpp").tasks}
    assert {name: task.suites["base"].oracle for name, task in tasks.items()} == {
        "Mbpp/164": "anything",
        "Mbpp/249": "same_set",
        "Mbpp/295": "zero_too",
        "Mbpp/444": "equal",
    }
    assert tasks["Mbpp/444"].suites["base"].cases[0].expected == "[(1, 2)]"
    assert judge.check(tasks["Mbpp/164"], "def are_equivalent(a, b): return None").passed_plus
    assert judge.check(tasks["Mbpp/295"], "def sum_div(n): return 0").passed_plus


HARD = {
    # Large outputs, ints of thousands of digits, a special oracle, floats.
    "humaneval": [0, 2, 4, 32, 38, 47, 51, 53, 130, 137, 139],
    # Special oracles, sets, complex numbers, a Counter, infinity.
    "mbpp": [2, 7, 88, 124, 137, 252, 404, 558, 579, 581, 590, 596, 737, 787, 794],
}


def judged(name, sandbox, tasks, file):
    """How many canonical solutions pass base, and plus; and the benchmark."""

    async def judge():
        benchmark = await load_benchmark(name, sandbox, tasks)
        problems = {one.task_id: one for one in evalplus.read_problems(name, file)}
        programs = [
            problems[task.task_id].prompt + problems[task.task_id].canonical_solution
            for task in benchmark.tasks
        ]
        verdicts = await asyncio.gather(
            *(check(sandbox, *one) for one in zip(benchmark.tasks, programs, strict=True))
        )
        for task, verdict in zip(benchmark.tasks, verdicts, strict=True):
            if not verdict.passed_plus:
                print(task.task_id, verdict)
        passed = [(verdict.passed_base, verdict.passed_plus) for verdict in verdicts]
        return [sum(column) for column in zip(*passed, strict=True)], benchmark

    return asyncio.run(judge())


@pytest.mark.parametrize("name", FILES)
def test_canonical_solutions_of_unusual_tasks_pass(data_dir, name, monkeypatch, tmp_path, sandbox):
    file = data_dir / FILES[name][0]
    monkeypatch.setenv(evalplus.OVERRIDES[name], str(file))
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path))
    prefix = {"humaneval": "HumanEval", "mbpp": "Mbpp"}[name]
    passed, benchmark = judged(name, sandbox, [f"{prefix}/{number}" for number in HARD[name]], file)
    assert passed == [len(HARD[name])] * 2
    shown = [task.task_id for task in benchmark.tasks if task.public_tests]
    assert len(shown) == len(HARD[name]) - 1


@pytest.fixture
def busy_cores():
    """Keeps every core busy with something else."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in os.sched_getaffinity(0)
    ]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("name", "tasks", "without"), [("humaneval", 164, 7), ("mbpp", 378, 4)])
def test_every_canonical_solution_passes_again_and_again_on_busy_cores(
    data_dir, name, tasks, without, monkeypatch, tmp_path, sandbox, busy_cores
):
    file = data_dir / FILES[name][0]
    monkeypatch.setenv(evalplus.OVERRIDES[name], str(file))
    monkeypatch.setenv("OCIJAX_CACHE", str(tmp_path))
    patient = Sandbox(Limits(cpu_seconds=600.0), sandbox.isolation)
    for _ in range(20):
        passed, benchmark = judged(name, patient, None, file)
        assert passed == [tasks] * 2
        assert [bool(task.public_tests) for task in benchmark.tasks].count(False) == without
