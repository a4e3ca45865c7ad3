"""The optimizer: clipping and AdamW under a linear warm-up and a cosine to zero, guarded."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from ocijax.model.parameters import ParameterSpec
from ocijax.train.config import TrainConfig
from ocijax.train.guard import guard


def learning_rate_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """Learning rate by update, counted from zero; none of the ``steps`` has a rate of zero."""
    warmup = max(1, round(config.warmup_fraction * steps))
    return optax.join_schedules(
        [
            optax.linear_schedule(
                config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1)
            ),
            optax.cosine_decay_schedule(config.learning_rate, max(1, steps - warmup + 1)),
        ],
        boundaries=[warmup - 1],
    )


def make_optimizer(
    config: TrainConfig, table: Mapping[str, ParameterSpec], steps: int
) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101) over a table's arrays, norms and biases not decayed.

    Its state is a `ocijax.train.guard.GuardState`.
    """
    adamw = optax.adamw(
        learning_rate_schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask={path: spec.inputs != 0 for path, spec in table.items()},
    )
    if config.moments_dtype == "bfloat16":
        adamw = _stored_in_bfloat16(adamw)
    if config.clip_norm:
        adamw = optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
    return guard(adamw, config)


def _stored_in_bfloat16(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Computes as ``inner`` does, with its state rounded to bfloat16 between two steps."""

    def rounded(state: optax.OptState) -> optax.OptState:
        return jax.tree.map(
            lambda leaf: (
                leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            ),
            state,
        )

    def init(parameters: optax.Params) -> optax.OptState:
        return rounded(inner.init(parameters))

    def update(updates, state, parameters=None):
        exact = jax.eval_shape(inner.init, parameters)
        state = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), state, exact)
        updates, state = inner.update(updates, state, parameters)
        return updates, rounded(state)

    return optax.GradientTransformation(init, update)
