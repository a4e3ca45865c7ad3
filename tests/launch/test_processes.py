"""A run of two processes of four devices each, beside the same run in one process."""

import random
import re
import signal
import subprocess

import numpy as np
import pytest

from tests.launch.runs import curve, free_port, wait_for_step

STEPS = 20
ONE_LINE = re.compile(
    r"\s*error: .*another process.* ended.*; run the same command again in all of them to go on\n"
)


@pytest.fixture(scope="module")
def begin(start, flags):
    """Starts a run in one process with one device, or in several with four each."""

    def run(workdir, *more, processes=2, dtype="float32") -> list[subprocess.Popen]:
        several = processes > 1
        more = (
            *flags,
            f"--workdir={workdir}",
            f"--config.train.steps={STEPS}",
            "--config.train.batch_size=8",
            "--config.train.evaluate_every=10",
            "--config.train.checkpoint_every=4",
            "--config.model.num_hidden_layers=1",
            f"--config.compute.dtype={dtype}",
            *(("--config.mesh.fsdp=4",) if several else ()),
            *more,
        )
        variables = {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={4 if several else 1}",
            "JAX_ENABLE_X64": str(dtype == "float64"),
        }
        if not several:
            return [start("launch.train", *more, **variables)]
        address = f"--coordinator=localhost:{free_port()}"
        return [
            start(
                "launch.train",
                *more,
                address,
                f"--process_count={processes}",
                f"--process_index={index}",
                **variables,
            )
            for index in range(processes)
        ]

    return run


def finish(children, statuses=None) -> list[str]:
    """Waits for all; what they wrote to standard error."""
    written = [child.communicate(timeout=300)[1] for child in children]
    found = [child.returncode for child in children]
    assert found == (statuses or [0] * len(children)), "\n".join(written)
    return written


@pytest.fixture(scope="module")
def two(begin, tmp_path_factory):
    """The workdir of an undisturbed run of two processes."""
    workdir = tmp_path_factory.mktemp("two")
    finish(begin(workdir))
    return workdir


def assert_close(workdir, other, tolerance):
    """The same rows in the same order, and the same losses within the tolerance."""
    one, two = curve(workdir), curve(other)
    assert [sorted(row) for row in one] == [sorted(row) for row in two]
    for name in ("step", "tokens", "targets"):
        assert [row.get(name) for row in one] == [row.get(name) for row in two]
    for name in ("loss", "evaluation_loss"):
        losses = [[row[name] for row in rows if name in row] for rows in (one, two)]
        np.testing.assert_allclose(*losses, rtol=tolerance, err_msg=name)


def test_two_processes_give_the_losses_of_one(two, begin, tmp_path):
    finish(begin(tmp_path, processes=1))
    assert_close(two, tmp_path, 1e-5)
    losses = [row["loss"] for row in curve(two) if "loss" in row]
    assert losses[-1] < losses[0] - 0.1, "the updates count"


@pytest.mark.soak
def test_two_processes_give_the_losses_of_one_in_float64(begin, tmp_path):
    for processes in (1, 2):
        workdir = tmp_path / str(processes)
        finish(begin(workdir, processes=processes, dtype="float64"))
    assert_close(tmp_path / "1", tmp_path / "2", 1e-9)


def test_one_killed_ends_the_other_by_one_line_and_both_go_on_bit_for_bit(two, begin, tmp_path):
    # The first is the one that the other notices at once: it leads.
    children = begin(tmp_path)
    wait_for_step(children[0], tmp_path, random.randint(1, STEPS // 2))
    children[0].kill()
    written = children[1].communicate(timeout=60)[1]
    assert children[1].returncode not in (0, 1)
    assert ONE_LINE.fullmatch(written)
    children[0].communicate()
    assert len(curve(tmp_path)) < STEPS, "killed too late"
    finish(begin(tmp_path))
    assert curve(tmp_path) == curve(two)


def test_sigterm_to_one_stops_both_and_one_process_alone_goes_on(two, begin, tmp_path):
    children = begin(tmp_path, "--config.train.checkpoint_every=1000")
    wait_for_step(children[0], tmp_path, 3)
    children[1].terminate()
    finish(children, [75, 75])
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert 3 <= int(checkpoint.name) < STEPS
    finish(begin(tmp_path, processes=1))
    assert_close(two, tmp_path, 1e-5)


def test_only_some_of_the_three_flags_are_refused(start, flags, tmp_path):
    child = start("launch.train", *flags, f"--workdir={tmp_path}", "--process_index=0")
    written = child.communicate()[1]
    assert child.returncode == 1
    assert written == (
        "error: --coordinator, --process_count and --process_index belong together; give all "
        "three\n"
    )


def test_slurm_says_which_processes_form_the_run(start, flags, tmp_path):
    job = {
        "SLURM_JOB_ID": str(random.randrange(4096)),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_LOCALID": "0",
    }
    flags = [*flags, "--config.data.train=absent.jsonl", f"--workdir={tmp_path}"]
    children = [start("launch.train", *flags, **job, SLURM_PROCID=str(rank)) for rank in (0, 1)]
    written = children[0].communicate(timeout=60)[1]
    assert written.startswith("error: process 0 of 2: absent.jsonl: ")
    assert children[0].returncode == 1
    children[1].communicate(timeout=60)
    assert children[1].returncode != 0


@pytest.mark.soak
@pytest.mark.parametrize("victims", [(1,), (0, 1)], ids=["one", "all"])
def test_killed_five_times_they_go_on_bit_for_bit(two, begin, tmp_path, victims):
    for _ in range(5):
        children = begin(tmp_path, "--config.train.checkpoint_every=2")
        wait_for_step(children[0], tmp_path, len(curve(tmp_path)) + random.randint(1, 3))
        for victim in victims:
            children[victim].kill()
        for child in children:
            written = child.communicate(timeout=60)[1]
            assert child.returncode == -signal.SIGKILL or ONE_LINE.search(written)
        assert len(curve(tmp_path)) < STEPS, "killed too late"
    finish(begin(tmp_path))
    assert curve(tmp_path) == curve(two)


@pytest.mark.soak
def test_one_that_stands_still_ends_the_other_within_a_minute(begin, tmp_path):
    children = begin(tmp_path)
    wait_for_step(children[0], tmp_path, 3)
    children[1].send_signal(signal.SIGSTOP)
    written = children[0].communicate(timeout=60)[1]
    assert ONE_LINE.search(written)
    children[1].kill()
    children[1].communicate()


@pytest.mark.soak
def test_processes_whose_devices_hold_the_same_rows_read_the_same(begin, tmp_path):
    heads = "--config.model.num_attention_heads=8"
    finish(begin(tmp_path / "one", heads, processes=1))
    mesh = ("--config.mesh.data=1", "--config.mesh.fsdp=1", "--config.mesh.tensor=8")
    finish(begin(tmp_path / "two", heads, *mesh))
    assert_close(tmp_path / "one", tmp_path / "two", 1e-5)
