import random
import signal
import subprocess
import time

import pytest

from ocijax.conversation import Conversation, Message, write_conversations
from ocijax.train.checkpoint import load_model
from ocijax.train.metrics import read_metrics

STEPS = 120


@pytest.fixture(scope="module")
def flags(tmp_path_factory, tiny_tokenizer_file):
    """A recipe of many short steps, given on the command line; the workdir is left out."""
    path = tmp_path_factory.mktemp("conversations") / "train.jsonl"
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
    write_conversations(path, conversations)
    values = {
        "model.vocab_size": 352,
        "model.hidden_size": 16,
        "model.intermediate_size": 32,
        "data.train": path,
        "data.tokenizer": tiny_tokenizer_file,
        "data.template": "llama-2",
        "data.length": 128,
        "data.holdout": 0.1,
        "train.steps": STEPS,
        "train.log_every": 1,
        "train.evaluate_every": 50,
        "train.checkpoint_every": 10,
    }
    overrides = [f"--config.{name}={value}" for name, value in values.items()]
    return ["--config=configs/smoke.py", *overrides]


@pytest.fixture(scope="module")
def undisturbed(flags, start, tmp_path_factory):
    """The workdir of a run that nothing disturbed, and what it printed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    child = start("launch.train", *flags, f"--workdir={workdir}")
    out, error = child.communicate()
    assert child.returncode == 0, error
    return workdir, out, error


def wait_for_step(child: subprocess.Popen, workdir, step: int) -> None:
    """Returns as soon as the run has written that step."""
    while child.poll() is None:
        if len(read_metrics(workdir / "metrics.jsonl")) >= step:
            return
        time.sleep(0.02)
    pytest.fail(f"ended before step {step}: {child.communicate()[1]}")


def curve(workdir):
    """All numbers of all steps but those that time decides."""
    rows = read_metrics(workdir / "metrics.jsonl")
    timed = {"tokens_per_second", "mfu"}
    return [{name: row[name] for name in row if name not in timed} for row in rows]


def test_killed_at_a_random_step_it_goes_on_bit_for_bit(undisturbed, flags, start, tmp_path):
    # Twice, each time somewhere else: before, while or after a checkpoint is written.
    for first, last in ((5, 50), (55, 100)):
        child = start("launch.train", *flags, f"--workdir={tmp_path}")
        step = random.randint(first, last)
        wait_for_step(child, tmp_path, step)
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert len(curve(tmp_path)) < STEPS, f"killed too late (step {step})"
    child = start("launch.train", *flags, f"--workdir={tmp_path}")
    out, error = child.communicate()
    assert child.returncode == 0, error
    assert f"{STEPS} of {STEPS} steps, done" in out
    assert curve(tmp_path) == curve(undisturbed[0])


def test_sigterm_writes_a_checkpoint_and_ends_well(flags, start, tmp_path):
    child = start(
        "launch.train", *flags, "--config.train.checkpoint_every=1000", f"--workdir={tmp_path}"
    )
    wait_for_step(child, tmp_path, 3)
    child.terminate()
    out, error = child.communicate()
    assert child.returncode == 0, error
    assert "stopped; run again to go on" in out
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert 3 <= int(checkpoint.name) < STEPS
    assert len(curve(tmp_path)) == int(checkpoint.name)
    assert load_model(tmp_path).template.name == "llama-2"


def test_the_terminal_shows_what_was_packed_and_how_it_goes(undisturbed):
    _, out, error = undisturbed
    assert "packed into" in error
    assert "0 too_long" in error
    for part in ("loss", "rate", "gradient", "tokens/s", "MFU n/a", "evaluation loss", "120/120"):
        assert part in error
    assert "120 of 120 steps, done" in out


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--config.train.learning_rat=1",
            "--config.train.learning_rat: the config has no field learning_rat; did you mean "
            "learning_rate?",
        ),
        ("--config.mesh.fsdp=7", "mesh data=-1 x fsdp=7 x tensor=1 does not divide the 1 devices"),
        ("--config.train.b1=2.0", "config.train.b1 must lie in [0, 1), is 2.0"),
        ("--config.train.learning_rate=0.5", "config.train.learning_rate=0.001, not 0.5"),
        ("--config.data.template=alpaca", "template 'alpaca' is unknown"),
        ("--config.data.train=", "config.data.train names no file"),
        ("--config=configs/absent.py", "No such file or directory: 'configs/absent.py'"),
    ],
)
def test_bad_input_is_one_line(undisturbed, flags, start, flag, message):
    child = start("launch.train", *flags, flag, f"--workdir={undisturbed[0]}")
    out, error = child.communicate()
    assert child.returncode == 1
    assert out == ""
    (line,) = [line for line in error.splitlines() if not line.startswith("packed into")]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.soak
def test_killed_twenty_times_it_goes_on_bit_for_bit(undisturbed, flags, start, tmp_path):
    for _ in range(20):
        child = start("launch.train", *flags, f"--workdir={tmp_path}")
        time.sleep(random.uniform(3, 12))
        child.kill()
        child.communicate()
    child = start("launch.train", *flags, f"--workdir={tmp_path}")
    assert child.wait() == 0
    assert curve(tmp_path) == curve(undisturbed[0])
