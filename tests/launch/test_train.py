import random
import signal
import time

import pytest

from ocijax.train.checkpoint import load_model
from tests.launch.runs import STEPS, curve, wait_for_step


@pytest.fixture(scope="module")
def undisturbed(flags, start, tmp_path_factory):
    """The workdir of a run that nothing disturbed, and what it printed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    # What a run may do besides, without another curve.
    more = ("--config.train.profile_steps=3,4", f"--compilation_cache={workdir / 'compiled'}")
    child = start("launch.train", *flags, *more, f"--workdir={workdir}")
    out, error = child.communicate()
    assert child.returncode == 0, error
    return workdir, out, error


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


def test_sigterm_writes_a_checkpoint_and_asks_to_be_run_again(flags, start, tmp_path):
    child = start(
        "launch.train", *flags, "--config.train.checkpoint_every=1000", f"--workdir={tmp_path}"
    )
    wait_for_step(child, tmp_path, 3)
    child.terminate()
    out, error = child.communicate()
    assert child.returncode == 75, error
    assert "stopped; run again to go on" in out
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert 3 <= int(checkpoint.name) < STEPS
    assert len(curve(tmp_path)) == int(checkpoint.name)
    assert load_model(tmp_path).template.name == "llama-2"


def test_the_terminal_shows_what_was_packed_and_how_it_goes(undisturbed):
    _, out, error = undisturbed
    assert "packed into" in error
    assert "0 too_long" in error
    for part in (
        "loss",
        "rate",
        "gradient",
        "tokens/s",
        "MFU n/a",
        "data wait",
        "goodput",
        "evaluation loss",
        "120/120",
    ):
        assert part in error
    assert "120 of 120 steps, done" in out


def test_steps_are_profiled_on_demand(undisturbed):
    assert list((undisturbed[0] / "profile").rglob("*.xplane.pb"))


def test_what_was_compiled_is_kept(undisturbed):
    assert list((undisturbed[0] / "compiled").iterdir())


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--config.train.learning_rat=1",
            "--config.train.learning_rat: the config has no field learning_rat; did you mean "
            "learning_rate?",
        ),
        (
            "--config.mesh.fsdp=7",
            "mesh data=-1 x fsdp=7 x context=1 x tensor=1 does not divide the 1 devices",
        ),
        ("--config.train.b1=2.0", "config.train.b1 must lie in [0, 1), is 2.0"),
        ("--config.train.learning_rate=0.5", "config.train.learning_rate=0.001, not 0.5"),
        (
            "--config.train.profile_steps=4",
            "config.train.profile_steps must be the first and the last step to trace",
        ),
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
