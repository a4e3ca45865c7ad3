"""What the backward pass keeps of each layer's forward and what it computes again, by name."""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.ad_checkpoint import checkpoint_name

from ocijax.sharding import is_split_by_hand

Remat = Literal["none", "projections", "attention", "offload", "full"]
"""From the fastest to that which holds least memory on the device. Kept of each layer beside its
input: ``none`` everything; ``projections`` what matrix products and attention gave, so that only
what is cheap is computed again; ``attention`` what attention gave; ``offload`` as ``projections``,
but what matrix products gave in the host's memory; ``full`` nothing."""

QUERY, KEY, VALUE = "query", "key", "value"
CONTEXT = "context"
"""What attention gave, and its softmax's normaliser."""
OUTPUT, GATE, UP = "output", "gate", "up"

_PROJECTIONS = (QUERY, KEY, VALUE, OUTPUT, GATE, UP)
_CUDNN_FORWARD = "dot_product_attention_fwd_wrapper"

Policy = Callable[..., Any]


def named(array: jax.Array, name: str) -> jax.Array:
    """Marks an activation that policies may keep."""
    return checkpoint_name(array, name)


def rematerialised(function: Callable, remat: Remat) -> Callable:
    """Has the backward of ``function`` compute again what ``remat`` does not keep.

    Whole parameters are not kept in any case: where devices hold parts, they are gathered again.
    """
    if remat == "none" and not is_split_by_hand("hidden"):
        return function
    return jax.checkpoint(function, policy=_policy(remat))


def _policy(remat: Remat) -> Policy | None:
    policies = jax.checkpoint_policies
    match remat:
        case "none":
            return _not_moved
        case "full":
            return None
        case "attention":
            return _with_kernels(policies.save_only_these_names(CONTEXT))
        case "projections":
            return _with_kernels(policies.save_only_these_names(CONTEXT, *_PROJECTIONS))
        case "offload":
            return _with_kernels(
                policies.save_and_offload_only_these_names(
                    names_which_can_be_saved=[CONTEXT],
                    names_which_can_be_offloaded=list(_PROJECTIONS),
                    offload_src="device",
                    offload_dst="pinned_host",
                )
            )


def _not_moved(primitive, *avals, **parameters):
    """Keeps what was computed, and not what was gathered, nor another view of that."""
    del avals, parameters
    return primitive.name not in ("all_gather", "reshape", "concatenate")


def _with_kernels(policy: Policy) -> Policy:
    """Also keeps what cuDNN's kernel gives, which has no names inside; its backward needs it."""

    def extended(primitive, *avals, **parameters):
        if primitive.name == _CUDNN_FORWARD:
            return True
        return policy(primitive, *avals, **parameters)

    return extended
