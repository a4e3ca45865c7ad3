import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.sharding import MESH_AXES, MeshConfig, make_mesh
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import (
    initial_parameters,
    initial_state,
    make_train_step,
    trained_table,
)
from tests.train.conftest import random_batch


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture
def begin(recipe, mesh):
    """Gives the first state of a recipe, and its step."""

    def make(recipe=recipe):
        optimizer = make_optimizer(recipe.train, trained_table(recipe), recipe.train.steps)
        state = initial_state(initial_parameters(recipe, mesh), recipe, optimizer, mesh)
        return state, make_train_step(recipe, optimizer, mesh)

    return make


@pytest.fixture(scope="module")
def batch(recipe):
    return random_batch(4, recipe.data.length, recipe.model.vocab_size)


def test_four_micro_batches_give_the_step_of_one_batch(recipe, change, begin, batch):
    # Rows of very different weight: a mean of means would not do.
    batch = {**batch, "loss_weights": batch["loss_weights"] * [[1], [0.1], [0], [3]]}
    batch["loss_weights"] = batch["loss_weights"].astype(np.float32)
    results = []
    for parts in (1, 4):
        state, step = begin(change(recipe, micro_batches=parts))
        results.append(step(state, batch))
    (whole, metrics), (parted, parted_metrics) = jax.device_get(results)
    for name, value in metrics.items():
        np.testing.assert_allclose(parted_metrics[name], value, rtol=1e-5, err_msg=name)
    # The first moment is the gradient times 1 - b1: what Adam's division would hide.
    moments = [jax.tree.leaves(state.optimizer) for state in (whole, parted)]
    for one, other in zip(*moments, strict=True):
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(one)


def test_the_step_compiles_exactly_once(begin, batch):
    state, step = begin()
    for _ in range(4):
        state, _ = step(state, batch)
    assert step._cache_size() == 1


def test_the_loss_falls(begin, batch):
    state, step = begin()
    losses = []
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] - 0.5


def test_a_batch_without_targets_changes_nothing_but_the_counters(begin, batch):
    state, step = begin()
    before = jax.device_get(state.parameters)
    after, metrics = step(state, {**batch, "loss_weights": np.zeros_like(batch["loss_weights"])})
    assert metrics["loss"] == 0
    assert metrics["gradient_norm"] == 0
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after.parameters))


def test_metrics_count_tokens_and_the_pairs_they_attend_to(begin, batch):
    state, step = begin()
    _, metrics = step(state, batch)
    segments = [
        np.count_nonzero(row == segment)
        for row in batch["segment_ids"]
        for segment in range(1, row.max() + 1)
    ]
    assert metrics["tokens"] == sum(segments)
    assert metrics["attended"] == sum(size * (size + 1) // 2 for size in segments)
    assert metrics["targets"] == batch["loss_weights"].sum()


def test_pairs_are_counted_within_a_sliding_window(recipe, begin, batch):
    model = replace(recipe.model, sliding_window=5)
    state, step = begin(replace(recipe, model=model))
    _, metrics = step(state, batch)
    seen = np.minimum(batch["positions"] + 1, 5)
    assert metrics["attended"] == seen[batch["segment_ids"] > 0].sum()


def test_a_batch_that_does_not_divide_is_refused(recipe, mesh):
    recipe = replace(recipe, train=replace(recipe.train, batch_size=6, micro_batches=2))
    mesh = jax.sharding.AbstractMesh(
        (2, 2, 1, 1), mesh.axis_names, axis_types=tuple(mesh.axis_types)
    )
    optimizer = make_optimizer(recipe.train, trained_table(recipe), 1)
    message = "batch_size (6) must be a multiple of micro_batches (2) times the 4 devices"
    with pytest.raises(InputError, match=re.escape(message)):
        make_train_step(recipe, optimizer, mesh)


def test_a_mesh_that_does_not_divide_the_model_is_refused_by_name(recipe):
    mesh = jax.sharding.AbstractMesh(
        (1, 1, 1, 8), MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    )
    small = ModelConfig(**{**vars(recipe.model), "vocab_size": 352, "num_attention_heads": 4})
    recipe = replace(recipe, model=small)
    optimizer = make_optimizer(recipe.train, trained_table(recipe), 1)
    with pytest.raises(InputError, match="mesh axis tensor of 8 devices does not divide the 4"):
        make_train_step(recipe, optimizer, mesh)


def test_rows_that_the_context_axis_does_not_divide_are_refused(recipe):
    mesh = jax.sharding.AbstractMesh(
        (1, 1, 3, 1), MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    )
    optimizer = make_optimizer(recipe.train, trained_table(recipe), 1)
    with pytest.raises(InputError, match=re.escape("config.data.length (128) must be a multiple")):
        make_train_step(recipe, optimizer, mesh)


def test_a_frozen_embedding_stays_and_has_no_optimizer_state(change, recipe, begin, batch):
    state, step = begin(change(recipe, freeze_embedding=True))
    paths = {str(key) for path, _ in jax.tree.leaves_with_path(state.optimizer) for key in path}
    assert "['head']" in paths
    assert "['embedding']" not in paths
    before = jax.device_get(state.parameters)
    after, _ = step(state, batch)
    for path, array in before.items():
        assert np.array_equal(after.parameters[path], array) == (path == "embedding"), path
