"""Which token comes next: the greedy one, or a draw from the nucleus; and how likely it was."""

import jax
import jax.numpy as jnp


def choose_tokens(
    logits: jax.Array,
    keys: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array,
    top_k: jax.Array,
) -> jax.Array:
    """One token for each row.

    Each row draws with its own key and settings, so that its token does not depend on other rows.

    Args:
      logits: ``[batch, vocab]``, fp32 or wider.
      keys: ``[batch]`` PRNG keys.
      temperature: ``[batch]``; 0 is greedy.
      top_p: ``[batch]``; the draw is from the smallest set of tokens with at least this probability
        (nucleus sampling, arXiv 1904.09751), of which the most probable one is always part.
      top_k: ``[batch]`` int32; the draw is from so many most probable tokens, within which
        ``top_p`` counts; 0: from all.

    Returns:
      ``[batch]`` int32.
    """
    greedy = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    draws = temperature > 0

    def drawn(logits):
        # The greatest is zero: no temperature, however low, makes it infinite.
        scaled = logits - logits.max(axis=-1, keepdims=True)
        scaled = scaled / jnp.where(draws, temperature, 1)[:, None]
        cut = (draws & (top_k > 0)).any()
        scaled = jax.lax.cond(cut, most_probable, lambda scaled, _: scaled, scaled, top_k)
        cut = (draws & (top_p < 1)).any()
        scaled = jax.lax.cond(cut, nucleus, lambda scaled, _: scaled, scaled, top_p)
        chosen = jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)
        return jnp.where(draws, chosen, greedy)

    return jax.lax.cond(draws.any(), drawn, lambda logits: greedy, logits)


def log_probabilities(logits: jax.Array, tokens: jax.Array, wanted: jax.Array) -> jax.Array:
    """Of tokens, by the softmax of the logits as they are.

    Args:
      logits: ``[batch, vocab]``, fp32 or wider.
      tokens: ``[batch]`` int32.
      wanted: ``[batch]`` bool; where none is, nothing is computed.

    Returns:
      ``[batch]`` fp32, zero where it is not wanted.
    """

    def score(logits: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(logits, tokens[:, None], axis=1)[:, 0]
        scores = chosen - jax.nn.logsumexp(logits, axis=-1)
        return jnp.where(wanted, scores, 0).astype(jnp.float32)

    return jax.lax.cond(
        wanted.any(), score, lambda logits: jnp.zeros(len(logits), jnp.float32), logits
    )


def nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Logits ``[batch, vocab]`` with minus infinity outside the nucleus of ``top_p`` ``[batch]``.

    Tokens exactly as probable as the last one inside are inside too; where ``top_p`` is 1, all are.
    """
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    reach = jnp.where(top_p < 1, jnp.maximum(top_p, jnp.finfo(jnp.float32).tiny), jnp.inf)
    return _inside(logits, probabilities, probabilities, reach)


def most_probable(logits: jax.Array, top_k: jax.Array) -> jax.Array:
    """Logits ``[batch, vocab]`` with minus infinity outside the ``top_k`` ``[batch]`` greatest.

    Those equal to the last one inside are inside too; where ``top_k`` is 0, all are.
    """
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    reach = jnp.where(top_k > 0, top_k.astype(jnp.float32), jnp.inf)
    return _inside(logits, probabilities, jnp.ones_like(probabilities), reach)


def _inside(
    logits: jax.Array, probabilities: jax.Array, weights: jax.Array, reach: jax.Array
) -> jax.Array:
    """The logits of tokens for which all more probable ones weigh less than ``reach``."""
    # As integers, the bits of floats that are not negative are in the floats' order.
    ranks = jax.lax.bitcast_convert_type(probabilities, jnp.int32)

    # The least rank inside is found by bisection, many times faster than a sort.
    def halve(_, bounds):
        outside, inside = bounds
        middle = (outside + inside) // 2
        above = jnp.where(ranks > middle, weights, 0).sum(axis=-1, keepdims=True)
        less = above < reach[:, None]
        return jnp.where(less, outside, middle), jnp.where(less, middle, inside)

    inside = ranks.max(axis=-1, keepdims=True)
    _, inside = jax.lax.fori_loop(0, 31, halve, (jnp.full_like(inside, -1), inside))
    return jnp.where(ranks >= inside, logits, -jnp.inf)
