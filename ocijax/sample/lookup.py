"""Drafts of what comes next, from where the conversation said the same before.

Prompt lookup: a repaired program is mostly the broken one again, and what follows the last few
tokens there is likely to follow here. No model drafts, so a wrong draft costs no more than reading
a few tokens in a forward that is made anyway.
"""

import jax
import jax.numpy as jnp

_LONGEST = 4
"""Last tokens that are compared, at most; where more of them are the same, the place is better."""

_SHORTEST = 2
"""Fewer in common are no reason to expect more."""


def look_up(history: jax.Array, positions: jax.Array, count: int) -> jax.Array:
    """The tokens that followed where the last ones stood before, of such places the latest.

    Args:
      history: ``[slots, places]`` int32, tokens by position.
      positions: ``[slots]`` int32, of the last token.
      count: tokens to draft.

    Returns:
      ``[slots, count]`` int32; -1 where nothing was found.
    """
    if not count:
        return jnp.zeros((len(positions), 0), jnp.int32)
    places = jnp.arange(history.shape[1])

    def of_row(row: jax.Array, position: jax.Array) -> jax.Array:
        common, same = jnp.zeros_like(row), jnp.ones_like(row, bool)
        for back in range(_LONGEST):
            here = row[jnp.maximum(position - back, 0)]
            same &= (jnp.roll(row, back) == here) & (places >= back) & (position >= back)
            common += same
        earlier = places < position
        rank = jnp.where(earlier & (common >= _SHORTEST), common * len(row) + places, -1)
        best = rank.argmax()
        # Where it runs into the present, what was said is taken to repeat itself.
        follow = best + 1 + jnp.arange(count) % jnp.maximum(position - best, 1)
        return jnp.where(rank[best] >= 0, row[follow], -1)

    return jax.vmap(of_row)(history, positions)
