import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from datasets_build.pack import PackSettings, pack_folder
from ocijax.conversation import Conversation, Message, write_conversations
from ocijax.data.packing import pack_conversations
from ocijax.data.storage import PackedRows, read_metadata
from ocijax.errors import InputError
from ocijax.template import get_template
from ocijax.tokenizer import load_tokenizer

LENGTH = 64


def silent(iterable, **_):
    return iterable


def conversations(count: int) -> list[Conversation]:
    return [
        Conversation(str(i), (Message("user", f"add {i}"), Message("assistant", f"a + {i}")))
        for i in range(count)
    ]


@pytest.fixture
def settings(tiny_tokenizer_file):
    def make(**changes) -> PackSettings:
        return PackSettings(
            **{"tokenizer": str(tiny_tokenizer_file), "template": "llama-2", "length": LENGTH}
            | changes
        )

    return make


def pack(settings, output, count=40, **arguments):
    return pack_folder(conversations(count), settings, output, progress=silent, **arguments)


def test_a_folder_holds_the_rows_that_packing_on_the_fly_gives(settings, tmp_path):
    pack(settings(), tmp_path / "packed")
    expected, _ = pack_conversations(
        conversations(40),
        get_template("llama-2"),
        load_tokenizer(settings().tokenizer),
        length=LENGTH,
    )
    found = PackedRows(tmp_path / "packed")
    for row, expected_row in zip(found, expected, strict=True):
        for name, array in expected_row.items():
            np.testing.assert_array_equal(row[name], array)


def test_the_metadata_says_how_it_was_made_and_counts(settings, tmp_path):
    source = tmp_path / "source.jsonl"
    source.write_bytes(b"rows")
    made = settings(holdout=0.3, policy="last", seed=5, max_segments=3)
    metadata = pack(made, tmp_path / "packed", inputs=[source], malformed=2)
    assert metadata == read_metadata(tmp_path / "packed")
    assert list(metadata["inputs"]) == [str(source)]
    settings_kept = {name: metadata[name] for name in ("policy", "seed", "length", "template")}
    assert settings_kept == {"policy": "last", "seed": 5, "length": 64, "template": "llama-2"}
    assert (metadata["vocab_size"], metadata["malformed_rows"]) == (340, 2)
    splits = metadata["splits"]
    assert splits["train"]["conversations"] + splits["holdout"]["conversations"] == 40
    for name, split in splits.items():
        rows = PackedRows(tmp_path / "packed", name)
        tokens = sum(np.count_nonzero(row["segment_ids"]) for row in rows)
        trained = sum(np.count_nonzero(row["loss_weights"]) for row in rows)
        assert (split["rows"], split["tokens"]) == (len(rows), tokens)
        assert split["trained_tokens"] == trained
        assert split["fill"] == pytest.approx(tokens / (len(rows) * LENGTH))
        assert split["most_segments"] == max(row["segment_ids"].max() for row in rows) <= 3


def test_inputs_are_known_by_their_content(settings, tmp_path):
    digests = []
    for number, content in enumerate((b"one", b"two", b"one")):
        source = tmp_path / f"{number}.jsonl"
        source.write_bytes(content)
        metadata = pack(settings(), tmp_path / f"packed{number}", inputs=[source])
        digests += metadata["inputs"].values()
    assert digests[0] == digests[2] != digests[1]


def test_the_same_input_gives_the_same_bytes(settings, tmp_path):
    for name in ("a", "b"):
        pack(settings(), tmp_path / name)
    first, second = (
        hashlib.sha256((tmp_path / name / "train.array_record").read_bytes()).digest()
        for name in ("a", "b")
    )
    assert first == second


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"template": "alpaca"}, "template 'alpaca' is unknown"),
        ({"tokenizer": "nowhere"}, "nowhere: cannot read the tokenizer"),
        ({"length": 1}, "--length=1"),
        ({"holdout": 1.0}, r"--holdout=1\.0"),
        ({"max_segments": -1}, "--max_segments=-1"),
        ({"policy": "first"}, "'first' is unknown"),
        ({"policy": "passed"}, "metadata 'passed' must list"),
        ({"length": 3}, "nothing to pack in split 'train': of 40 conversations 40 do not fit"),
        ({"holdout": 1e-6}, "nothing to pack in split 'holdout'"),
    ],
)
def test_what_cannot_be_packed_is_refused_and_leaves_nothing(settings, tmp_path, changes, problem):
    with pytest.raises(InputError, match=problem):
        pack(settings(**changes), tmp_path / "packed")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_of_another_template_is_refused(settings, data_dir, tmp_path):
    tokenizer = str(data_dir / "tokenizers/recovered/deepseek-coder.tokenizer.json")
    with pytest.raises(InputError, match=r"lacks the special tokens '<s>', '</s>'"):
        pack(settings(tokenizer=tokenizer), tmp_path / "packed")


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "datasets_build.pack", *arguments]


@pytest.fixture
def environment():
    return {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}


def test_the_program_packs_and_refuses_to_do_so_again(tiny_tokenizer_file, tmp_path, environment):
    write_conversations(tmp_path / "in.jsonl", conversations(40))
    command = program(
        f"--input={tmp_path / 'in.jsonl'}",
        f"--tokenizer={tiny_tokenizer_file}",
        "--template=llama-2",
        "--length=64",
        f"--output={tmp_path / 'packed'}",
    )
    first = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    counted = json.loads(first.stdout)["train"]
    assert counted["rows"] == len(PackedRows(tmp_path / "packed"))
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("error: ")
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_kill_leaves_nothing_under_the_final_name(tiny_tokenizer_file, tmp_path, environment):
    write_conversations(tmp_path / "in.jsonl", conversations(60_000))
    output = tmp_path / "packed"
    process = subprocess.Popen(
        program(
            f"--input={tmp_path / 'in.jsonl'}",
            f"--tokenizer={tiny_tokenizer_file}",
            "--template=llama-2",
            "--length=64",
            f"--output={output}",
        ),
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(tmp_path.glob(".packed.*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
