import json
import os
import subprocess
import sys

import pytest

ROWS = [
    {
        "id": number,
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": "It failed."},
            {"role": "assistant", "content": "another"},
        ],
    }
    for number in range(5)
]

WITHOUT_TENSORFLOW = """
import runpy, sys
sys.argv[0] = "code_feedback"
try:
    runpy.run_module("datasets_build.code_feedback", run_name="__main__", alter_sys=True)
finally:
    if "tensorflow" in sys.modules:
        sys.exit("it imported TensorFlow")
"""


@pytest.fixture
def run(tmp_path):
    def run_program(*rows, **flags):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        return subprocess.run(
            [
                *(sys.executable, "-c", WITHOUT_TENSORFLOW),
                *(f"--input={path}", f"--output={tmp_path / 'tfds'}", *arguments),
            ],
            env={**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
        )

    return run_program


def test_builds_a_data_source_without_tensorflow(run, tmp_path):
    import tensorflow_datasets as tfds

    result = run(*ROWS)
    assert result.returncode == 0, result.stderr
    assert "5 conversations" in result.stdout
    source = tfds.data_source("code_feedback:1.0.0", split="train", data_dir=tmp_path / "tfds")
    assert [row["id"].decode() for row in source] == ["0", "1", "2", "3", "4"]
    assert [role.decode() for role in source[3]["messages"]["role"]] == ["user", "assistant"] * 2
    assert source[3]["messages"]["content"][0].decode() == "question 3"


def test_a_malformed_row_is_refused_in_one_line_and_nothing_is_built(run, tmp_path):
    result = run(*ROWS, {"messages": []})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "rows.jsonl:6: it has no messages" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "tfds").exists()


def test_malformed_rows_are_reported_and_skipped_when_asked(run):
    result = run(*ROWS, {"messages": []}, skip_malformed="true")
    assert result.returncode == 0, result.stderr
    assert "skipped: " in result.stderr
    assert "5 conversations" in result.stdout


def test_an_existing_data_set_is_refused(run):
    assert run(*ROWS).returncode == 0
    result = run(*ROWS[:1])
    assert result.returncode == 1
    assert "1.0.0 exists already" in result.stderr
