"""Choosing the next token, against the definitions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ocijax.sample.choice import choose_tokens, nucleus

PROBABILITIES = np.array([0.05, 0.4, 0.25, 0.2, 0.1])
DRAWS = 4000

choose = jax.jit(choose_tokens)


def draw(probabilities: np.ndarray, temperature: float, top_p: float, top_k: int = 0) -> np.ndarray:
    """How often each token came in many draws."""
    logits = jnp.tile(jnp.log(jnp.asarray(probabilities, jnp.float32)), (DRAWS, 1))
    keys = jax.random.split(jax.random.key(0), DRAWS)
    settings = (jnp.full(DRAWS, temperature), jnp.full(DRAWS, top_p), jnp.full(DRAWS, top_k))
    tokens = choose(logits, keys, *settings)
    return np.bincount(np.asarray(tokens), minlength=len(probabilities))


def expected(probabilities: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """The distribution of one draw, by a sort."""
    tempered = probabilities ** (1 / temperature)
    tempered /= tempered.sum()
    order = np.argsort(-tempered)
    before = np.cumsum(tempered[order]) - tempered[order]
    kept = order[before < top_p]
    result = np.zeros_like(tempered)
    result[kept] = tempered[kept] / tempered[kept].sum()
    return result


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("top_p", [0.3, 0.8, 0.95, 1.0])
def test_draws_follow_the_tempered_nucleus(temperature, top_p):
    probabilities = np.random.default_rng(0).dirichlet(np.full(24, 0.5))
    counts = draw(probabilities, temperature, top_p)
    wanted = expected(probabilities, temperature, top_p) * DRAWS
    assert counts[wanted == 0].sum() == 0
    # The test wants a few in every cell: rare tokens share one.
    rare = (wanted > 0) & (wanted < 8)
    common = wanted >= 8
    observed = np.append(counts[common], counts[rare].sum())
    theory = np.append(wanted[common], wanted[rare].sum())
    if theory[-1] == 0:
        observed, theory = observed[:-1], theory[:-1]
    assert len(theory) == 1 or stats.chisquare(observed, theory).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-4])
def test_temperature_near_zero_takes_the_most_probable(temperature):
    assert draw(PROBABILITIES, temperature, 1.0)[1] == DRAWS
    assert draw(PROBABILITIES, temperature, 0.9)[1] == DRAWS


@pytest.mark.parametrize(("top_p", "inside"), [(0.0, 1), (0.39, 1), (0.41, 2), (0.66, 3), (1, 5)])
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, inside):
    logits = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))[None]
    kept = np.isfinite(np.asarray(nucleus(logits, jnp.array([top_p]))))[0]
    assert set(np.flatnonzero(kept)) == set(np.argsort(-PROBABILITIES)[:inside])


def test_tokens_of_equal_probability_are_in_the_nucleus_together():
    assert np.isfinite(nucleus(jnp.zeros((1, 4)), jnp.array([0.5]))).all()


def test_tokens_without_any_probability_stay_out_of_the_nucleus():
    logits = jnp.array([[0.0, -jnp.inf, -1.0, -200.0]])
    kept = np.isfinite(nucleus(logits, jnp.array([0.99])))
    assert kept.tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_draw_is_from_the_most_probable_tokens_and_the_nucleus_within(top_k):
    inside = np.argsort(-PROBABILITIES)[:top_k]
    counts = draw(PROBABILITIES, 1.0, 1.0, top_k)
    assert set(np.flatnonzero(counts)) == set(inside)
    # Of 0.4 and 0.25, the first alone has 0.6 of what is left.
    assert set(np.flatnonzero(draw(PROBABILITIES, 1.0, 0.6, 2))) == {1}


def test_a_row_draws_the_same_whatever_the_other_rows_are():
    keys = jax.random.split(jax.random.key(1), 6)
    logits = jax.random.normal(jax.random.key(2), (6, 50))
    settings = (
        jnp.array([1.0, 0.0, 0.7, 1.3, 1.0, 1.0]),
        jnp.array([0.9, 0.9, 1.0, 0.5, 1.0, 0.8]),
        jnp.array([0, 0, 3, 0, 5, 40]),
    )
    together = choose(logits, keys, *settings)
    for row in range(6):
        alone = (array[row : row + 1] for array in (logits, keys, *settings))
        assert int(choose(*alone)[0]) == int(together[row])
