import subprocess
import sys

import pytest

from datasets_build.code_feedback import build
from ocijax.conversation import Conversation, Message, write_conversations
from ocijax.data.source import load_conversations, scan_sources
from ocijax.errors import InputError

MESSAGES = (Message("system", "s"), Message("user", "ü"), Message("assistant", "a\n"))
CONVERSATIONS = [
    Conversation("7", MESSAGES, "made", {"passed": [True], "nested": {"k": 1.5}}),
    *(Conversation(str(number), MESSAGES[1:]) for number in range(20)),
]


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    return build(CONVERSATIONS, tmp_path_factory.mktemp("tfds"))


def test_a_tfds_folder_gives_the_conversations_it_was_built_of_in_order(tfds_folder):
    assert load_conversations([tfds_folder]) == CONVERSATIONS


def test_files_and_folders_are_read_one_after_the_other(tfds_folder, tmp_path):
    path = tmp_path / "more.jsonl"
    write_conversations(path, CONVERSATIONS[:2])
    assert load_conversations([path, tfds_folder]) == CONVERSATIONS[:2] + CONVERSATIONS


def test_malformed_rows_of_all_files_are_collected(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        path.write_text("{\n")
    assert len(scan_sources(paths)[1]) == 2
    with pytest.raises(InputError, match=r"a\.jsonl:1: not JSON.*b\.jsonl:1: not JSON"):
        load_conversations(paths)


def test_an_empty_file_is_refused_by_name(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    with pytest.raises(InputError, match=r"empty\.jsonl: no conversation in it"):
        load_conversations([path])


def test_a_folder_of_something_else_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="neither a JSONL file nor a TFDS folder"):
        load_conversations([tmp_path])


def test_a_tfds_folder_is_read_without_tensorflow(tfds_folder):
    program = (
        "import sys; from ocijax.data.source import load_conversations;"
        f"print(len(load_conversations([{str(tfds_folder)!r}])), 'tensorflow' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["21", "False"]
