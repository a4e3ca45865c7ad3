"""launch.plan as a user starts it: nothing but a config and the name of a topology."""

import json

import pytest

CONFIG = "--config=configs/deepseek_coder_1_3b.py"


@pytest.fixture
def run(start):
    """Exit status, standard output and standard error of a plan."""

    def run(*flags):
        child = start("launch.plan", *flags)
        out, error = child.communicate()
        return child.returncode, out, error

    return run


def test_a_script_reads_what_was_compiled_for_a_tpu(run):
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    status, out, error = run(
        "--config=configs/smoke.py",
        "--config.model.vocab_size=512",
        "--config.data.length=128",
        "--topology=v5e:2x2",
        "--nosearch",
        "--output=json",
    )
    assert status == 0, error
    plan = json.loads(out)
    assert plan["compiled"]
    assert plan["fits"]
    assert plan["peak"] == sum(
        plan["memory"][part] for part in ("arguments", "outputs", "temporaries", "code")
    )
    assert plan["wire_bytes"]["all-reduce"] > 0
    assert error == "compiling: remat none, rows a device: 1\n"


def test_an_estimate_says_so_and_what_would_be_faster(run):
    status, out, error = run(CONFIG, "--topology=h200:8")
    assert (status, error) == (0, "")
    assert "8 x NVIDIA H200, mesh fsdp 8; an ESTIMATE" in out
    assert "fastest that fits: remat none and a batch of 8 on each device" in out


def test_the_exit_status_says_that_it_does_not_fit(run):
    status, out, error = run(CONFIG, "--topology=h100:1", "--sampler", "--context=16384")
    assert (status, error) == (2, "")
    assert "DOES NOT FIT" in out
    assert "16,384" in out


def test_wrong_input_is_one_line(run):
    status, out, error = run(CONFIG, "--topology=v9:2x2")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "topology 'v9:2x2' is not known" in error
