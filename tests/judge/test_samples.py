import json
import re

import pytest

from ocijax.errors import InputError
from ocijax.judge.samples import Sample, read_samples
from ocijax.judge.task import Task

TASK = Task("Mbpp/2", "Add.", "add", prompt="def add(a, b):\n")


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows) -> str:
        path = tmp_path / "samples.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write_rows


def test_a_solution_stands_alone_and_a_completion_goes_on_from_the_prompt(write):
    path = write(
        {"task_id": "Mbpp/2", "solution": "add = sum"},
        {"task_id": "Mbpp/2", "completion": "    return a + b\n"},
    )
    assert [sample.program(TASK) for sample in read_samples(path)] == [
        "add = sum",
        "def add(a, b):\n    return a + b\n",
    ]


def test_of_a_row_with_both_the_solution_counts(write):
    path = write({"task_id": "Mbpp/2", "completion": "c", "solution": "s", "_identifier": 3})
    assert read_samples(path) == [Sample("Mbpp/2", "s", completion=False)]


def test_several_samples_of_a_task_keep_their_order(write):
    path = write(*({"task_id": name, "solution": name + name} for name in "aba"))
    assert [sample.text for sample in read_samples(path)] == ["aa", "bb", "aa"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "not JSON"),
        (["Mbpp/2", "x"], "not a JSON object"),
        ({"solution": "x"}, "it has no task_id"),
        ({"task_id": 2, "solution": "x"}, "it has no task_id"),
        ({"task_id": "Mbpp/2"}, "Mbpp/2: it has neither a solution nor a completion"),
        ({"task_id": "Mbpp/2", "solution": ["x"]}, "Mbpp/2: it has neither a solution"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(write, row, problem):
    path = write({"task_id": "Mbpp/2", "solution": "x"}, row)
    with pytest.raises(InputError, match=f"^{re.escape(path)}:2: .*{re.escape(problem)}"):
        read_samples(path)


def test_a_file_without_samples_is_refused(write):
    with pytest.raises(InputError, match=r"samples\.jsonl: has no samples"):
        read_samples(write(""))
