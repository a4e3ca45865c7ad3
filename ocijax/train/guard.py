"""Skips the updates that would spoil a run: gradients that are not finite, and spikes.

Its state is part of the optimizer's, so that a run that goes on judges as if undisturbed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ocijax.train.config import TrainConfig

MEMORY = 100
"""About so many of the latest updates make the mean that a spike stands out from, and so many
must have been made before any counts as one."""


class GuardState(NamedTuple):
    """State of `guard`.

    Attributes:
      optimizer: that of the optimizer inside.
      updates: number of updates made.
      typical_norm: running mean of the gradient norms of these.
      skipped: number of updates skipped.
      skipped_in_a_row: number of them since the last one made.
    """

    optimizer: Any
    updates: jax.Array
    typical_norm: jax.Array
    skipped: jax.Array
    skipped_in_a_row: jax.Array


def guard(
    optimizer: optax.GradientTransformation, config: TrainConfig
) -> optax.GradientTransformation:
    """The optimizer, but for updates that are skipped: these change nothing, its state included.

    Args:
      optimizer: gets all other gradients.
      config: ``skip_nonfinite`` and ``spike_threshold`` say which are skipped.
    """

    def init(parameters: Any) -> GuardState:
        none = jnp.zeros((), jnp.int32)
        return GuardState(optimizer.init(parameters), none, jnp.zeros(()), none, none)

    def update(gradient: Any, state: GuardState, parameters: Any) -> tuple[Any, GuardState]:
        norm = optax.tree.norm(gradient).astype(state.typical_norm.dtype)
        skip = jnp.array(False)
        if config.skip_nonfinite:
            skip |= ~jnp.isfinite(norm)
        if config.spike_threshold:
            known = state.updates >= MEMORY
            skip |= known & (norm > config.spike_threshold * state.typical_norm)
        updates, inner = optimizer.update(gradient, state.optimizer, parameters)
        updates = jax.tree.map(lambda leaf: jnp.where(skip, jnp.zeros_like(leaf), leaf), updates)
        inner = jax.tree.map(lambda old, new: jnp.where(skip, old, new), state.optimizer, inner)
        # A plain mean of the first updates, a running one of those that follow.
        share = 1 / jnp.minimum(state.updates + 1, MEMORY)
        mean = state.typical_norm + share * (norm - state.typical_norm)
        return updates, GuardState(
            inner,
            jnp.where(skip, state.updates, state.updates + 1),
            jnp.where(skip, state.typical_norm, mean),
            jnp.where(skip, state.skipped + 1, state.skipped),
            jnp.where(skip, state.skipped_in_a_row + 1, 0),
        )

    return optax.GradientTransformation(init, update)
