"""A run that takes seconds, as flags of launch.train, and what it left behind."""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from ocijax.conversation import Conversation, Message, write_conversations
from ocijax.train.metrics import read_metrics

STEPS = 120

TIMED = {"tokens_per_second", "mfu", "data_wait", "goodput"}
"""Numbers that time decides."""


def recipe_flags(folder: Path, tokenizer: Path) -> list[str]:
    """A recipe of many short steps; the workdir is left out."""
    words = ("add", "return", "sort", "print", "range")
    conversations = [
        Conversation(
            str(index),
            (
                Message("user", f"{words[index % 5]} {index}"),
                Message("assistant", f"{words[index % 4]} {index % 7}\n" * (1 + index % 3)),
            ),
        )
        for index in range(100)
    ]
    write_conversations(folder / "train.jsonl", conversations)
    values = {
        "model.vocab_size": 352,
        "model.hidden_size": 16,
        "model.intermediate_size": 32,
        "data.train": folder / "train.jsonl",
        "data.tokenizer": tokenizer,
        "data.template": "llama-2",
        "data.length": 128,
        "data.holdout": 0.1,
        "train.steps": STEPS,
        "train.log_every": 1,
        "train.evaluate_every": 50,
        "train.checkpoint_every": 10,
    }
    return ["--config=configs/smoke.py", *(f"--config.{key}={values[key]}" for key in values)]


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def wait_for_step(child: subprocess.Popen, workdir: Path, step: int) -> None:
    """Returns as soon as the run has written that step."""
    while child.poll() is None:
        if len(read_metrics(workdir / "metrics.jsonl")) >= step:
            return
        time.sleep(0.02)
    pytest.fail(f"ended before step {step}: {child.communicate()[1]}")


def curve(workdir: Path) -> list[dict[str, float]]:
    """All numbers of all steps but those that time decides."""
    rows = read_metrics(workdir / "metrics.jsonl")
    return [{name: row[name] for name in row if name not in TIMED} for row in rows]
