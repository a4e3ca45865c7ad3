from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ocijax.model.parameters import init_parameters, parameter_table
from ocijax.train.config import TrainConfig
from ocijax.train.optimizer import learning_rate_schedule, make_optimizer
from tests.train.conftest import MODEL

BIASED = replace(MODEL, query_key_value_bias=True)


@pytest.fixture(scope="module")
def parameters():
    """Fresh ones but for the biases, which begin as zero."""
    fresh = init_parameters(BIASED, jax.random.key(0))
    return {path: array + path.endswith("bias") for path, array in fresh.items()}


def update(parameters, gradient, **settings):
    """Parameters and optimizer state after the first of ten steps."""
    optimizer = make_optimizer(TrainConfig(**settings), parameter_table(BIASED), 10)

    @jax.jit
    def step(parameters, gradient):
        updates, state = optimizer.update(gradient, optimizer.init(parameters), parameters)
        return optax.apply_updates(parameters, updates), state

    return step(parameters, gradient)


def test_learning_rate_warms_up_linearly_and_falls_by_a_cosine():
    schedule = learning_rate_schedule(TrainConfig(learning_rate=1.0, warmup_fraction=0.1), 100)
    rates = [float(schedule(step)) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-6)
    cosine = [(1 + np.cos(np.pi * done / 91)) / 2 for done in range(91)]
    np.testing.assert_allclose(rates[9:], cosine, atol=1e-6)


def test_weight_decay_spares_norms_and_biases(parameters):
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    after, _ = update(parameters, nothing, learning_rate=1.0, weight_decay=0.1)
    for path, before in parameters.items():
        decayed = 1.0 if path.endswith(("norm", "bias")) else 1 - 0.1
        np.testing.assert_allclose(after[path], decayed * before, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize(("clip_norm", "left"), [(0.5, 0.5), (0.0, 1.0), (2.0, 1.0)])
def test_a_gradient_is_scaled_down_to_the_norm_where_it_is_larger(parameters, clip_norm, left):
    ones = jax.tree.map(jnp.ones_like, parameters)
    gradient = jax.tree.map(lambda leaf: leaf / optax.tree.norm(ones), ones)
    _, state = update(parameters, gradient, clip_norm=clip_norm, b1=0.9)
    moments = optax.tree.get(state, "mu")
    assert float(optax.tree.norm(moments)) == pytest.approx((1 - 0.9) * left, rel=1e-4)


def ten_steps(parameters, **settings):
    """Parameters and state after ten steps down a bowl."""
    optimizer = make_optimizer(TrainConfig(**settings), parameter_table(BIASED), 10)
    goal = jax.tree.map(lambda leaf: leaf + 1, parameters)
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state):
        gradient = jax.tree.map(jnp.subtract, parameters, goal)
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    for _ in range(10):
        parameters, state = step(parameters, state)
    return parameters, state


def test_moments_in_bfloat16_take_half_the_memory_and_lead_to_the_same_place(parameters):
    exact, wide = ten_steps(parameters, learning_rate=0.1)
    rounded, narrow = ten_steps(parameters, learning_rate=0.1, moments_dtype="bfloat16")
    sizes = [sum(leaf.nbytes for leaf in jax.tree.leaves(state)) for state in (wide, narrow)]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=1e-3)
    for path, start in parameters.items():
        moved = np.linalg.norm(exact[path] - start)
        assert 0 < np.linalg.norm(rounded[path] - exact[path]) < 0.01 * moved


def test_moments_in_bfloat16_are_refused_where_they_would_stand_still():
    with pytest.raises(ValueError, match=r"^moments_dtype is bfloat16, which b1 \(0.9\) and b2"):
        TrainConfig(moments_dtype="bfloat16", b2=0.999)
