import json
import os
import subprocess
import sys

import pytest

from datasets_build.instruct import conversation_row, read_instructions
from ocijax.conversation import Message, read_conversations
from ocijax.errors import InputError


def messages(row) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in conversation_row(row)["messages"]]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {"instruction": "q", "response": "a"},
        {"prompt": "q", "completion": "a"},
        {"query": "q", "answer": "a", "lang": "sql"},
        {"problem": "q", "solution": "a", "lang": "cpp"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    ],
)
def test_every_known_form_becomes_an_exchange(row):
    assert messages(row) == [("user", "q"), ("assistant", "a")]


def test_an_input_follows_the_instruction():
    row = {"instruction": "Sort this.", "input": "[2, 1]", "output": "[1, 2]"}
    assert messages(row)[0] == ("user", "Sort this.\n\n[2, 1]")


def test_an_exercise_becomes_its_instructions_with_the_stub_and_its_example():
    row = {
        "slug": "two-fer",
        "docs": {"instructions.append.md": "last", "introduction.md": "first\n"},
        "stub": "def two_fer():\n    pass\n",
        "example": "def two_fer():\n    return 2\n",
    }
    assert messages(row) == [
        ("user", "first\n\nlast\n\nBegin with this:\n\n```python\ndef two_fer():\n    pass\n```"),
        ("assistant", "```python\ndef two_fer():\n    return 2\n```"),
    ]
    assert conversation_row(row)["id"] == "two-fer"


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="no known form: none of instruction/output"):
        conversation_row({"text": "hello"})


@pytest.mark.parametrize("form", ["array", "lines"])
def test_rows_are_read_from_arrays_and_lines_and_named_by_place(tmp_path, form):
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": ""}, 3]
    path = tmp_path / "rows.json"
    lines = "\n".join(map(json.dumps, rows))
    path.write_text(json.dumps(rows, indent=1) if form == "array" else lines)
    conversations, problems = read_instructions(path)
    assert conversations[0].messages == (Message("user", "q"), Message("assistant", "a"))
    assert (conversations[0].id, conversations[0].source) == ("rows-1", "rows")
    assert problems == [
        f"{path}:2: message 1 (assistant) is empty",
        f"{path}:3: not a JSON object",
    ]


def test_the_real_files_are_read(data_dir):
    folder = data_dir / "instruct"
    counts = {
        "codealpaca/code_alpaca_2k.json": (2015, 2),
        "evol-teacher/evol-codealpaca-2k-1.json": (1966, 0),
        "exercism-python/exercises.jsonl": (140, 0),
        "octopack-oasst/oasstcommitpackft.jsonl": (151, 0),
    }
    found = {name: read_instructions(folder / name) for name in counts}
    assert {name: (len(good), len(bad)) for name, (good, bad) in found.items()} == counts


def test_the_program_writes_a_conversation_file_or_one_line_of_error(tmp_path):
    path, output = tmp_path / "rows.json", tmp_path / "out.jsonl"
    path.write_text('[{"prompt": "q", "completion": "a"}, {}]')
    command = [sys.executable, "-m", "datasets_build.instruct"]
    command += [f"--input={path}", f"--output={output}"]
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"error: {path}:2: no known form" in refused.stderr.splitlines()[-1]
    assert not output.exists()
    skipped = subprocess.run(
        [*command, "--skip_malformed"], env=environment, capture_output=True, text=True
    )
    assert skipped.returncode == 0, skipped.stderr
    assert len(read_conversations(output)) == 1
