import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.errors import InputError
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.checkpoint import (
    Checkpoints,
    ModelDescription,
    load_model,
    load_parameters,
    save_model,
)
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    abstract_state,
    initial_parameters,
    initial_state,
    trained_table,
)
from tests.train.conftest import MODEL


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture(scope="module")
def optimizer(recipe):
    return make_optimizer(recipe.train, trained_table(recipe), 1)


@pytest.fixture(scope="module")
def state(recipe, optimizer, mesh):
    return initial_state(initial_parameters(recipe, mesh), recipe, optimizer, mesh)


@pytest.fixture(scope="module")
def model(tiny_tokenizer_file):
    return ModelDescription(MODEL, tiny_tokenizer_file, "llama-2")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, state, model):
    """A workdir with the checkpoints that remain of four."""
    path = tmp_path_factory.mktemp("run")
    with Checkpoints(path / "checkpoints", model, keep=2) as checkpoints:
        for step in (1, 2, 3, 10):
            checkpoints.save(step, state, {"iterator": {"next_index": step}})
    return path


def test_the_last_ones_are_kept(workdir, model):
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"3", "10"}
    with Checkpoints(workdir / "checkpoints", model, keep=2) as checkpoints:
        assert checkpoints.latest_step == 10


def test_the_best_one_and_those_at_long_intervals_are_kept_too(tmp_path, state, model):
    losses = {1: 3.0, 2: 1.0, 3: None, 4: 2.0, 5: 5.0, 6: None}
    # The second half is a run that goes on: it knows the losses of the first.
    for half in ((1, 2, 3), (4, 5, 6)):
        with Checkpoints(tmp_path, model, keep=1, keep_every=4) as checkpoints:
            for step in half:
                checkpoints.save(step, state, {"iterator": {}}, losses[step])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "4", "6"]


def test_state_comes_back_bit_for_bit(workdir, model, recipe, optimizer, mesh, state):
    with Checkpoints(workdir / "checkpoints", model, keep=2) as checkpoints:
        wanted = abstract_state(recipe, optimizer, mesh)
        found, data = checkpoints.restore(10, wanted)
    assert data == {"iterator": {"next_index": 10}}
    assert jax.tree.structure(found) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), jax.device_get(state))


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/10"])
def test_a_model_loads_from_workdir_folder_of_steps_or_step(workdir, state, place):
    config, parameters, tokenizer, template = load_model(workdir / place)
    assert config == MODEL
    assert template.name == "llama-2"
    assert tokenizer.special_id("</s>") is not None
    jax.tree.map(np.testing.assert_array_equal, parameters, state.parameters)


def test_a_model_loads_in_another_dtype(workdir):
    parameters = load_model(workdir, dtype=jnp.bfloat16).parameters
    assert {array.dtype for array in parameters.values()} == {jnp.dtype("bfloat16")}


def test_a_step_that_was_moved_away_is_all_a_model_needs(workdir, tmp_path):
    (workdir / "checkpoints" / "3").rename(tmp_path / "elsewhere")
    assert load_model(tmp_path / "elsewhere").config == MODEL
    (tmp_path / "elsewhere").rename(workdir / "checkpoints" / "3")


def test_a_model_saved_alone_loads(tmp_path, state, model):
    save_model(tmp_path / "model", state.parameters, model)
    parameters = load_model(tmp_path / "model").parameters
    jax.tree.map(np.testing.assert_array_equal, parameters, state.parameters)


def test_an_array_larger_than_what_is_written_at_once_is_saved(tmp_path, state, model, monkeypatch):
    monkeypatch.setattr("ocijax.train.checkpoint._WRITTEN_AT_ONCE", 1)
    save_model(tmp_path / "model", state.parameters, model)
    parameters = load_model(tmp_path / "model").parameters
    jax.tree.map(np.testing.assert_array_equal, parameters, state.parameters)


def test_an_unfinished_checkpoint_is_passed_over(tmp_path, state, model):
    (tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no complete checkpoint"):
        load_model(tmp_path)
    with Checkpoints(tmp_path / "checkpoints", model, keep=1) as checkpoints:
        assert checkpoints.latest_step is None


def test_a_folder_without_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: holds no complete"):
        load_model(tmp_path)


def test_parameters_of_another_shape_are_refused_by_path(workdir, mesh):
    wider = replace(MODEL, intermediate_size=64)
    with pytest.raises(InputError, match=r"layers/gate is \(2, 32, 48\), but \(2, 32, 64\)"):
        load_parameters(workdir, wider, mesh)
    tied = replace(MODEL, tie_word_embeddings=True)
    with pytest.raises(InputError, match=r"head is \(32, 352\), but absent in this model"):
        load_parameters(workdir, tied, mesh)


@pytest.mark.parametrize("how", ["limit", "fill"])
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_whole(
    tmp_path, tiny_tokenizer_file, how
):
    command = [sys.executable, "-m", "tests.train.full_disk"]
    command += [str(tmp_path), str(tiny_tokenizer_file), how]
    if how == "fill":
        mount = f"mount -t tmpfs -o size=2m tmpfs {shlex.quote(str(tmp_path))}"
        isolated = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        if subprocess.run([*isolated, mount], capture_output=True, check=False).returncode:
            pytest.skip("no small file system can be mounted here")
        command = [*isolated, f"{mount} && exec {shlex.join(command)}"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    outcome = json.loads(child.stdout)
    reason = {"limit": "File too large", "fill": "no space left on device"}[how]
    start = f"{tmp_path / 'checkpoints'}: cannot write the checkpoint of step 2: "
    assert outcome["message"].startswith(start)
    assert reason in outcome["message"]
    assert "that of step 1 is whole" in outcome["message"]
    assert "\n" not in outcome["message"]
    assert outcome["whole"]
