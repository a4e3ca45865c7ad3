"""Published sets of tasks as ours: rows like theirs, and the real files where they are at hand."""

import asyncio
import base64
import json
import pickle
import re
import subprocess
import sys
import zlib

import pytest

from datasets_build.task_formats.exercism import exercism_task
from datasets_build.task_formats.humanevalpack import humanevalpack_task
from datasets_build.task_formats.leetcodedataset import leetcodedataset_task
from datasets_build.task_formats.livecodebench import livecodebench_task
from datasets_build.tasks import read_published
from ocijax.errors import InputError
from ocijax.judge.checker import check, run_public
from ocijax.judge.task import CodeTest, StdinTest, TestCase, read_tasks
from ocijax.sandbox import Limits, Sandbox
from ocijax.sandbox.languages import title
from tests.toolchains import needs

SANDBOX = Sandbox(Limits(cpu_seconds=600.0))
LEETCODE = "leetcode/leetcodedataset/LeetCodeDataset-v0.2.0-train.jsonl.gz"
EXERCISM = "instruct/exercism-python/exercises.jsonl"


def status(task, program):
    """How a program did, and whether it passed the public tests."""

    async def judge():
        verdict = await check(SANDBOX, task, program)
        return verdict.suites["base"].status, (await run_public(SANDBOX, task, program)).passed

    return asyncio.run(judge())


def unsolved(tasks):
    """The tasks whose own solutions fail."""

    async def judge():
        few = asyncio.Semaphore(2 * SANDBOX.concurrency)

        async def passes(task):
            async with few:
                return (await check(SANDBOX, task, task.metadata["solution"])).passed_base

        return await asyncio.gather(*map(passes, tasks))

    return [
        task.task_id for task, right in zip(tasks, asyncio.run(judge()), strict=True) if not right
    ]


LEETCODE_ROW = {
    "task_id": "add-up",
    "query": "Add numbers.\n\nPlease complete this.",
    "prompt": "from typing import *\n",
    "completion": "class Solution:\n    def addUp(self, a: List[int], b: int = 0) -> int:\n"
    "        return sum(a) + b\n",
    "entry_point": "Solution().addUp",
    "test": "def check(candidate):\n    assert candidate(a = [1,2], b = 3) == 6\n"
    "    assert candidate(b = 1, a = []) == 1\n    assert candidate([4]) == 4\n"
    "    assert abs(candidate(a = [4])) == 4\n",
    "input_output": [
        {"input": "a = [1,2], b = 3", "output": "6"},
        {"input": "b = 1, a = []", "output": "1"},
        {"input": "[4]", "output": "4"},
        {"input": "a = [4]", "output": "4"},
    ],
    "meta": {
        "question_title": "Example 1:\nInput: a = [1, 2], b = 3\nOutput: 6",
        "lang_code": "class Solution:\n    def addUp(self, a: List[int], b: int = 0) -> int:",
    },
}


def test_asserts_of_leetcodedataset_become_calls_where_they_can():
    task = leetcodedataset_task(LEETCODE_ROW)
    assert task.suites["base"].cases == (
        TestCase(([1, 2], 3), 6),
        TestCase(([], 1), 1),
        TestCase(([4],), 4),
        CodeTest("assert abs(Solution().addUp(a=[4])) == 4\n"),
    )
    assert task.public_tests == (TestCase(([1, 2], 3), 6),)
    assert task.instruction.startswith("Add numbers.\n\nPlease complete this.\n\nAnswer with")
    assert status(task, task.metadata["solution"]) == ("pass", True)
    assert status(task, task.metadata["solution"].replace("+", "-")) == ("fail", False)


def test_one_test_of_leetcodedataset_stays_hidden():
    statement = " ".join(pair["input"] for pair in LEETCODE_ROW["input_output"])
    meta = {**LEETCODE_ROW["meta"], "question_title": statement}
    task = leetcodedataset_task({**LEETCODE_ROW, "meta": meta})
    assert task.public_tests == task.suites["base"].cases[:3]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"test": "def check(candidate):\n    return 1\n"}, "its test is no function check"),
        ({"test": "def check("}, "its test does not parse"),
        ({"entry_point": "addUp"}, "its entry_point 'addUp' is no method of a class"),
        ({"query": None}, "its query is missing"),
        ({"starter_code": ["class"]}, "its starter_code is of the wrong type"),
        ({"problem_description": 3}, "its problem_description is of the wrong type"),
        ({"meta": {"lang_code": {}}}, "its lang_code is of the wrong type"),
        ({"meta": {"question_title": 3}}, "its question_title is of the wrong type"),
    ],
)
def test_a_row_of_leetcodedataset_without_tests_is_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        leetcodedataset_task({**LEETCODE_ROW, **changes})


def test_a_value_that_python_does_not_make_stays_code():
    test = "def check(candidate):\n    assert candidate(a = {[1]: 2}) == 1\n"
    task = leetcodedataset_task({**LEETCODE_ROW, "test": test})
    assert task.suites["base"].cases == (CodeTest("assert Solution().addUp(a={[1]: 2}) == 1\n"),)


EXERCISE = {
    "slug": "two-fer",
    "docs": {"instructions.md": "Share."},
    "stub": "def two_fer(name):\n    pass\n",
    "solution_file": "two_fer.py",
    "example": 'def two_fer(name="you"):\n    return f"{name} and me"\n',
    "tests": "import unittest\nfrom helpers import EXPECTED\nimport two_fer\n\n"
    "class TwoFer(unittest.TestCase):\n    def test_none(self):\n"
    "        self.assertEqual(two_fer.two_fer(), EXPECTED)\n\n    @unittest.expectedFailure\n"
    "    def test_broken(self):\n        self.fail()\n\n    def test_name(self):\n"
    '        self.assertEqual(two_fer.two_fer("Al"), "Al and me")\n',
    "extra_files": {"helpers.py": 'EXPECTED = "you and me"\n'},
}


def test_an_exercise_shows_its_first_test_and_scores_by_all():
    task = exercism_task(EXERCISE)
    assert status(task, EXERCISE["example"]) == ("pass", True)
    assert status(task, EXERCISE["example"].replace("you", "we")) == ("fail", False)
    assert status(task, 'def two_fer(name=""): return "you and me"') == ("fail", True)
    assert "Al and me" not in task.public_tests[0].code


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"docs": None}, "its docs are missing"),
        ({"docs": ["Share."]}, "its docs is of the wrong type"),
        ({"docs": {"instructions.md": 3}}, "its docs are of the wrong type (instructions.md: int)"),
        ({"stub": 3}, "its stub is of the wrong type"),
        ({"extra_files": {"helpers.py": []}}, "its extra_files are of the wrong type (helpers.py"),
    ],
)
def test_an_exercise_with_fields_of_the_wrong_type_is_refused(changes, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        exercism_task({**EXERCISE, **changes})


def problem(public, private, **fields):
    """A row of LiveCodeBench."""
    return {
        "question_title": "Sum",
        "question_content": "Add two numbers.",
        "question_id": "1_A",
        "starter_code": "",
        "public_test_cases": json.dumps(public),
        "private_test_cases": private if isinstance(private, str) else json.dumps(private),
        "metadata": "{}",
        **fields,
    }


def stdin(given, expected):
    return {"input": given, "output": expected, "testtype": "stdin"}


def functional(given, expected):
    return {"input": given, "output": expected, "testtype": "functional"}


def packed(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_programs_of_livecodebench_read_and_print():
    hidden = packed(json.dumps([stdin("5 5\n", "10\n")]))
    task = livecodebench_task(problem([stdin("1 2\n", "3\n")], hidden))
    assert task.public_tests == (StdinTest("1 2\n", "3\n"),)
    assert task.suites["base"].cases == (StdinTest("1 2\n", "3\n"), StdinTest("5 5\n", "10\n"))
    assert status(task, "print(reduce(add, map(int, input().split())))") == ("pass", True)
    assert status(task, "print(3)") == ("fail", True)


def test_functions_of_livecodebench_are_called():
    row = problem(
        [functional("[1, 2]\n3", "[6, 0]")],
        [functional("[]\n1", "[1, 0]")],
        starter_code="class Solution:\n    def addUp(self, a: List[int], b: int) -> List[int]:\n",
        metadata='{"func_name": "addUp"}',
    )
    task = livecodebench_task(row)
    assert task.entry_point == "Solution().addUp"
    assert task.public_tests == (TestCase(([1, 2], 3), [6, 0]),)
    program = "class Solution:\n    def addUp(self, a: List[int], b): return sum(a) + b, 0"
    assert status(task, program) == ("pass", True)


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("private", "reason"),
    [
        (packed(Harmful()), "it wants builtins.print"),
        (packed(["x"]), "hold a list, not a text"),
        (packed("[1"), "private_test_cases are not JSON"),
        ("no base64", "cannot be unpacked"),
        (base64.b64encode(b"no zlib").decode(), "cannot be unpacked"),
        ([functional("1", "1")], "its tests are of 2 types"),
        ([{"input": "", "output": "", "testtype": "other"}], "a test is of type 'other'"),
        ([{"input": "", "output": "", "testtype": []}], "a test is of type []"),
        (base64.b64encode(zlib.compress(b"0.")).decode(), "cannot be unpacked"),
        ([stdin(1, "1")], "a test's input is of the wrong type"),
    ],
)
def test_what_livecodebench_does_not_pack_is_refused_and_not_run(private, reason, capsys):
    with pytest.raises(InputError, match=re.escape(reason)):
        livecodebench_task(problem([stdin("1", "1")], private))
    assert capsys.readouterr().out == ""


def pack(prefix, head, body, test, **fields):
    """A row of HumanEvalPack."""
    return {
        "task_id": f"{prefix}/0",
        "prompt": head,
        "declaration": head,
        "canonical_solution": body,
        "buggy_solution": body.replace("+", "-"),
        "test": test,
        "example_test": test.replace("2", "1").replace("3", "2"),
        "entry_point": "add",
        "instruction": "Write add.",
        **fields,
    }


HUMANEVALPACK = [
    pack(
        "Python",
        "import math\n\n\ndef add(a, b):\n",
        "    return a + b\n",
        "def check(add):\n    assert add(1, 2) == 3\n\ncheck(add)\n",
    ),
    pack(
        "JavaScript",
        "const add = (a, b) => {\n",
        "  return a + b;\n}\n",
        "const testAdd = () => {\n  console.assert(add(1, 2) === 3)\n}\n\ntestAdd()\n",
    ),
    pack(
        "Java",
        "import java.util.*;\n\nclass Solution {\n    public int add(int a, int b) {\n",
        "        return a + b;\n    }\n}\n",
        "public class Main {\n    public static void main(String[] args) {\n"
        "        List<Boolean> correct = Arrays.asList(new Solution().add(1, 2) == 3);\n"
        "        if (correct.contains(false)) throw new AssertionError();\n    }\n}\n",
    ),
    pack(
        "CPP",
        "#include<vector>\nusing namespace std;\nint add(int a, int b){\n",
        "    return a + b;\n}\n",
        "#undef NDEBUG\n#include<assert.h>\nint main(){\n    assert(add(1, 2) == 3);\n}\n",
    ),
    pack(
        "Rust",
        "fn main(){}\n\nuse std::cmp::max;\nuse rand::Rng;\n\nfn add(a: i32, b: i32) -> i32 {\n",
        "    return a + b;\n}\n",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn test_add() {\n"
        "        assert_eq!(add(1, 2), 3);\n    }\n}\n",
    ),
    pack(
        "Go",
        'import (\n    "strconv"\n)\n\nfunc Half(a int) int {\n    return a\n}\n\n'
        "func add(a, b int) string {\n",
        "    return strconv.Itoa(Half(a) + b)\n}\n",
        "func TestAdd(t *testing.T) {\n    assert := assert.New(t)\n"
        '    assert.Equal("3", add(1, 2))\n}\n',
        **{"import": 'import (\n    "strconv"\n)\n'},
        test_setup='package main\n\nimport (\n    "testing"\n    "time"\n'
        '    "github.com/stretchr/testify/assert"\n)\n',
    ),
]


@pytest.mark.parametrize("row", HUMANEVALPACK, ids=lambda row: row["task_id"])
def test_a_row_of_humanevalpack_is_judged_in_its_language(row):
    task = humanevalpack_task(row)
    needs(task.language)
    assert status(task, task.metadata["solution"]) == ("pass", True)
    wrong = asyncio.run(check(SANDBOX, task, task.metadata["buggy"]))
    assert wrong.suites["base"].status == "fail"
    assert f"in one {title(task.language)} code block" in task.instruction


@pytest.mark.parametrize(
    ("index", "changes", "reason"),
    [
        (0, {"task_id": "Perl/0"}, "its language is none of Python"),
        (0, {"test": None}, "its test is missing"),
        (0, {"example_test": ["x"]}, "its example_test is of the wrong type"),
        (4, {"canonical_solution": "    rand::random()\n}\n"}, "Rust/0: needs the package rand"),
        (5, {"test": "assert.InDelta(1, 2, 3)"}, "Go/0: needs testify's assert.InDelta"),
    ],
)
def test_a_row_of_humanevalpack_that_cannot_run_here_is_refused(index, changes, reason):
    with pytest.raises(InputError, match=reason):
        humanevalpack_task({**HUMANEVALPACK[index], **changes})


def test_an_example_that_is_none_is_no_test():
    assert humanevalpack_task({**HUMANEVALPACK[4], "example_test": "None"}).public_tests == ()
    assert humanevalpack_task({**HUMANEVALPACK[0], "example_test": "  x ="}).public_tests == ()


def program(*arguments):
    command = [sys.executable, "-m", "datasets_build.tasks", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_program_says_what_it_made_and_what_it_left_out(tmp_path):
    rows = [*HUMANEVALPACK[:2], {**HUMANEVALPACK[0]}, {"task_id": "x"}]
    source, output = tmp_path / "pack.jsonl", tmp_path / "tasks.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = program("--from=humanevalpack", f"--input={source}", f"--output={output}")
    assert done.stdout == f"{output}: 2 tasks, 2 of them with public tests; 2 rows left out\n"
    assert done.stderr.splitlines() == [
        f"left out: {source}:3: a second task 'Python/0'",
        f"left out: {source}:4: its prompt is missing",
    ]
    assert [task.task_id for task in read_tasks(output)] == ["Python/0", "JavaScript/0"]


def test_a_row_with_a_field_of_the_wrong_type_is_named_and_the_others_are_read(tmp_path):
    source = tmp_path / "leetcode.jsonl"
    rows = [{**LEETCODE_ROW, "starter_code": ["class"]}, LEETCODE_ROW]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [task], left_out = read_published("leetcodedataset", source)
    assert task.task_id == "add-up"
    assert left_out == [f"{source}:1: its starter_code is of the wrong type (list)"]


def test_a_file_of_another_format_is_refused(tmp_path):
    source = tmp_path / "pack.jsonl"
    source.write_text(json.dumps(HUMANEVALPACK[0]) + "\n")
    done = program("--from=exercism", f"--input={source}", f"--output={tmp_path}/tasks.jsonl")
    assert done.returncode == 1
    assert done.stderr.endswith("none of its 1 rows is a task: see --from\n")
    assert list(tmp_path.iterdir()) == [source]


def test_some_real_solutions_pass(data_dir):
    leetcode, left_out = read_published("leetcodedataset", data_dir / LEETCODE)
    assert (len(leetcode), left_out) == (1890, [])
    code = [task for task in leetcode if isinstance(task.suites["base"].cases[0], CodeTest)]
    assert unsolved(leetcode[:10] + code[:5]) == []
    exercism, left_out = read_published("exercism", data_dir / EXERCISM)
    assert (len(exercism), left_out) == (140, [])
    assert unsolved(exercism[:5]) == []


@pytest.mark.soak
def test_all_real_solutions_pass_that_need_no_other_packages(data_dir):
    tasks, _ = read_published("leetcodedataset", data_dir / LEETCODE)
    alone = [
        task
        for task in tasks
        if not re.search("^from sortedcontainers|^import numpy", task.metadata["solution"], re.M)
    ]
    assert len(alone) == 1877
    # Its answer may come in any order, and comes in that of a set of texts.
    assert set(unsolved(alone)) <= {"word-ladder-ii"}
    exercism, _ = read_published("exercism", data_dir / EXERCISM)
    assert unsolved(exercism) == []


@pytest.mark.soak
@pytest.mark.parametrize("language", ["cpp", "go", "java", "js", "python", "rust"])
def test_all_of_humanevalpack_that_needs_no_packages_passes(data_dir, language):
    path = data_dir / "humanevalpack" / f"{language}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path.name}: not in the data folder")
    tasks, left_out = read_published("humanevalpack", path)
    expected = {"cpp": 3, "js": 1, "rust": 6}.get(language, 0)
    assert (len(tasks), len(left_out)) == (164 - expected, expected)
    needs(tasks[0].language)
    # The declaration of CPP/38 holds half of the solution, which then stands there twice.
    assert set(unsolved(tasks)) <= {"CPP/38"}
