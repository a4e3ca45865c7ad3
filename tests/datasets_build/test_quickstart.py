"""The quickstart's data on disk: read back by what trains, samples and judges."""

import subprocess
import sys

import pytest

from datasets_build.quickstart import build_folder
from ocijax.conversation import read_conversations
from ocijax.errors import InputError
from ocijax.judge.task import read_tasks
from ocijax.sandbox.sandbox import Sandbox
from ocijax.tasks.dataset import Sizes
from ocijax.template import LLAMA2, tokenize
from ocijax.tokenizer import load_tokenizer

SETTINGS = {
    "template": "llama-2",
    "vocabulary_size": 640,
    "sizes": Sizes(test=1, validation=1, train=3, first_answers=1),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "data"
    return folder, build_folder(folder, sandbox=Sandbox(), **SETTINGS)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tasks_read_back_as_they_were_built(built, split):
    folder, dataset = built
    assert read_tasks(folder / "tasks" / f"{split}.jsonl") == dataset.tasks[split]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_conversations_read_back_as_they_were_built(built, split):
    folder, dataset = built
    path = folder / "conversations" / f"{split}.jsonl"
    assert read_conversations(path) == dataset.conversations[split]


def test_tokenizer_has_the_special_tokens_and_keeps_conversations_short(built):
    folder, dataset = built
    tokenizer = load_tokenizer(folder)
    lengths = [
        len(tokenize(conversation, LLAMA2, tokenizer).tokens)
        for conversation in dataset.conversations["train"]
    ]
    assert tokenizer.vocab_size <= SETTINGS["vocabulary_size"]
    assert sum(lengths) / len(lengths) < 200


def test_an_existing_folder_is_refused(built):
    with pytest.raises(InputError, match="exists already"):
        build_folder(built[0], sandbox=Sandbox(), **SETTINGS)


def test_a_vocabulary_too_small_leaves_no_folder_behind(tmp_path):
    with pytest.raises(InputError, match="no vocabulary of 20 pieces"):
        build_folder(tmp_path / "data", sandbox=Sandbox(), **{**SETTINGS, "vocabulary_size": 20})
    assert list(tmp_path.iterdir()) == []


def test_program_says_in_one_line_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "datasets_build.quickstart", f"--output={tmp_path / 'data'}"]
    ended = subprocess.run([*command, "--test=0"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "error: test=0: at least one instruction a family\n"
