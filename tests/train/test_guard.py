import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ocijax.train.config import TrainConfig
from ocijax.train.guard import MEMORY, guard

FINE = {"weight": jnp.array([3.0, 4.0])}
"""Its norm is 5."""


def run(gradients, **settings):
    """Parameters and state after each of these gradients, by plain descent with a momentum."""
    optimizer = guard(optax.sgd(1.0, momentum=0.5), TrainConfig(**settings))
    parameters = {"weight": jnp.zeros(2)}
    state, seen = optimizer.init(parameters), []

    @jax.jit
    def step(parameters, state, gradient):
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    for gradient in gradients:
        parameters, state = step(parameters, state, gradient)
        seen.append((parameters, state))
    return seen


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(value):
    (before, first), (after, second) = run([FINE, {"weight": jnp.array([1.0, value])}])
    jax.tree.map(np.testing.assert_array_equal, before, after)
    jax.tree.map(np.testing.assert_array_equal, first.optimizer, second.optimizer)
    assert (first.skipped, second.skipped, second.updates) == (0, 1, 1)


def test_it_goes_through_where_that_is_asked_for():
    _, (after, state) = run([FINE, {"weight": jnp.array([1.0, np.nan])}], skip_nonfinite=False)
    assert np.isnan(after["weight"]).any()
    assert state.skipped == 0


def test_an_update_made_ends_a_row_of_skipped_ones():
    spoilt = {"weight": jnp.array([np.nan, 0.0])}
    states = [state for _, state in run([spoilt, spoilt, FINE, spoilt])]
    assert [int(state.skipped_in_a_row) for state in states] == [1, 2, 0, 1]
    assert [int(state.skipped) for state in states] == [1, 2, 2, 3]


@pytest.mark.parametrize(("times", "skipped"), [(2.9, 0), (3.1, 1)])
def test_a_norm_of_more_than_some_times_the_mean_is_a_spike(times, skipped):
    spike = {"weight": FINE["weight"] * times}
    *_, (_, state) = run([FINE] * MEMORY + [spike], spike_threshold=3.0)
    assert state.skipped == skipped
    mean = 5.0 if skipped else 5.0 + 5.0 * (times - 1) / MEMORY
    assert float(state.typical_norm) == pytest.approx(mean)


def test_nothing_is_a_spike_before_the_mean_is_known():
    spike = {"weight": FINE["weight"] * 1000}
    *_, (_, state) = run([FINE] * (MEMORY - 1) + [spike], spike_threshold=3.0)
    assert state.skipped == 0
