"""Which token comes next: the greedy one, or a draw from the nucleus."""

import jax
import jax.numpy as jnp


def choose_tokens(
    logits: jax.Array, keys: jax.Array, temperature: jax.Array, top_p: jax.Array
) -> jax.Array:
    """One token for each row.

    Each row draws with its own key, so that its token does not depend on the other rows.

    Args:
      logits: ``[batch, vocab]``, fp32 or wider.
      keys: ``[batch]`` PRNG keys.
      temperature: scalar; 0 is greedy.
      top_p: scalar; the draw is from the smallest set of tokens with at least this probability
        (nucleus sampling, arXiv 1904.09751), of which the most probable one is always part.

    Returns:
      ``[batch]`` int32.
    """

    def greedy(logits):
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    def drawn(logits):
        # The greatest is zero: no temperature, however low, makes it infinite.
        scaled = (logits - logits.max(axis=-1, keepdims=True)) / temperature
        scaled = jax.lax.cond(top_p < 1, nucleus, lambda scaled, top_p: scaled, scaled, top_p)
        return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)

    return jax.lax.cond(temperature > 0, drawn, greedy, logits)


def nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Logits ``[batch, vocab]`` with minus infinity outside the nucleus of ``top_p``.

    Tokens exactly as probable as the last one inside are inside too.
    """
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    # As integers, the bits of floats that are not negative are in the floats' order.
    ranks = jax.lax.bitcast_convert_type(probabilities, jnp.int32)
    reach = jnp.maximum(top_p, jnp.finfo(jnp.float32).tiny)

    # A token is inside while those more probable do not reach top_p together. The least such
    # rank is found by bisection, many times faster than a sort.
    def halve(_, bounds):
        outside, inside = bounds
        middle = (outside + inside) // 2
        above = jnp.where(ranks > middle, probabilities, 0).sum(axis=-1, keepdims=True)
        return jnp.where(above < reach, outside, middle), jnp.where(above < reach, middle, inside)

    inside = ranks.max(axis=-1, keepdims=True)
    _, inside = jax.lax.fori_loop(0, 31, halve, (jnp.full_like(inside, -1), inside))
    return jnp.where(ranks >= inside, logits, -jnp.inf)
