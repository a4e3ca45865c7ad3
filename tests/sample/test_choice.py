"""Choosing the next token, against NumPy and the definition of the nucleus."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ocijax.sample.choice import choose_tokens, nucleus

PROBABILITIES = np.array([0.05, 0.4, 0.25, 0.2, 0.1])
DRAWS = 4000


def draw(temperature: float, top_p: float) -> np.ndarray:
    """How often each token came in many draws."""
    logits = jnp.tile(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32)), (DRAWS, 1))
    keys = jax.random.split(jax.random.key(0), DRAWS)
    tokens = choose_tokens(logits, keys, jnp.float32(temperature), jnp.float32(top_p))
    return np.bincount(np.asarray(tokens), minlength=len(PROBABILITIES))


def test_temperature_zero_takes_the_most_probable():
    assert draw(0.0, 1.0)[1] == DRAWS


def test_draws_follow_the_distribution():
    assert stats.chisquare(draw(1.0, 1.0), PROBABILITIES * DRAWS).pvalue > 1e-3


def test_temperature_sharpens_as_the_power_of_the_distribution():
    sharpened = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    assert stats.chisquare(draw(0.5, 1.0), sharpened * DRAWS).pvalue > 1e-3


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p():
    counts = draw(1.0, 0.8)
    inside = [1, 2, 3]
    assert counts.sum() == counts[inside].sum()
    kept = PROBABILITIES[inside] / PROBABILITIES[inside].sum()
    assert stats.chisquare(counts[inside], kept * DRAWS).pvalue > 1e-3


def test_the_nucleus_of_zero_holds_the_most_probable_alone():
    logits = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))[None]
    kept = np.isfinite(np.asarray(nucleus(logits, jnp.float32(0.0))))[0]
    assert kept.tolist() == [False, True, False, False, False]


def test_a_row_draws_the_same_whatever_the_other_rows_are():
    keys = jax.random.split(jax.random.key(1), 6)
    logits = jax.random.normal(jax.random.key(2), (6, 50))
    together = choose_tokens(logits, keys, jnp.float32(1.0), jnp.float32(0.9))
    alone = [
        int(
            choose_tokens(logits[i : i + 1], keys[i : i + 1], jnp.float32(1.0), jnp.float32(0.9))[0]
        )
        for i in range(6)
    ]
    assert together.tolist() == alone
