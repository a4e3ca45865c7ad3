import importlib.util
import os
import subprocess
import sys

import pytest

from ocijax.compiler import FLAGS, CompilerFlag, known_options, set_flags

FINE = CompilerFlag("--xla_gpu_enable_latency_hiding_scheduler=true", "is known")
UNKNOWN = CompilerFlag("--xla_gpu_no_release_knows_this=true", "would abort the process")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "")


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_this_release_knows_the_flags_of_each_platform(platform):
    if platform == "tpu" and not importlib.util.find_spec("libtpu"):
        pytest.skip("libtpu is absent")
    assert set_flags(platform) == []
    given = os.environ["XLA_FLAGS"] + os.environ["LIBTPU_INIT_ARGS"]
    assert given.split() == [flag.text for flag in FLAGS[platform]]


def test_a_flag_that_this_release_does_not_know_is_left_out():
    assert set_flags("gpu", [UNKNOWN, FINE]) == [UNKNOWN.text]
    assert os.environ["XLA_FLAGS"] == FINE.text


def test_so_is_an_option_of_one_program():
    fine = {"xla_gpu_experimental_force_split_k": 1}
    assert known_options(fine | {"xla_gpu_no_release_knows_this": 1}) == fine


def test_the_users_own_flags_win(monkeypatch):
    own = "--xla_gpu_enable_latency_hiding_scheduler=false"
    monkeypatch.setenv("XLA_FLAGS", own)
    assert set_flags("gpu", [FINE]) == []
    assert os.environ["XLA_FLAGS"] == own


def test_a_program_tells_of_no_tpu_that_it_has_not_found():
    code = "import jax; from ocijax.program import run; run(lambda: print(jax.devices()))"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "Device" in child.stdout
    assert child.stderr == ""
