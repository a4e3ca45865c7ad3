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
        scaled = jax.lax.cond(
            top_p < 1,
            lambda scaled: nucleus(scaled, top_p),
            lambda scaled: scaled,
            logits / temperature,
        )
        return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)

    return jax.lax.cond(temperature > 0, drawn, greedy, logits)


def nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Logits ``[batch, vocab]`` with minus infinity outside the nucleus of ``top_p``.

    Tokens exactly as probable as the last one inside are inside too.
    """
    ranked = jnp.sort(logits, axis=-1, descending=True)
    probabilities = jax.nn.softmax(ranked, axis=-1)
    # A token is inside while those before it have not reached top_p together.
    inside = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
    last = jnp.maximum(inside.sum(axis=-1, keepdims=True) - 1, 0)
    return jnp.where(logits >= jnp.take_along_axis(ranked, last, axis=-1), logits, -jnp.inf)
