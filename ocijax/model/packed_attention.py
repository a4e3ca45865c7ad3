"""Attention over packed rows by the fastest kernel that a device has; chosen here alone.

``splash`` on TPU, ``cudnn`` on Hopper and newer GPUs, ``masked`` anywhere: the reference that the
others are tested against, which holds a score for each pair of positions.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from ocijax.errors import InputError
from ocijax.model.attention import masked_attention, packed_mask
from ocijax.model.config import ModelConfig
from ocijax.model.context import context_place, whole_rows
from ocijax.model.cudnn import cudnn_attention, cudnn_causal_attention, segment_bounds
from ocijax.model.remat import CONTEXT, named
from ocijax.model.splash import LANES, splash_attention
from ocijax.sharding import is_split_by_hand, on_parts, only, partition_spec

Kernel = Literal["splash", "cudnn", "masked"]

PackedAttention = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""``(query, key, value) -> context``, ``[batch, length, heads, head_dim]``, key and value with the
key and value heads."""

_LONGEST_HEAD = 256  # that cuDNN takes on Hopper
_HOPPER = 9.0


def choose_kernel(
    config: ModelConfig, dtype: str, length: int, device: jax.Device, parts: int = 1
) -> Kernel:
    """The fastest kernel for rows of this length, shared by so many devices of that kind."""
    for kernel in ("splash", "cudnn"):
        if not _hindrance(kernel, config, dtype, length, device, parts):
            return kernel
    return "masked"


def check_kernel(
    kernel: Kernel,
    config: ModelConfig,
    dtype: str,
    length: int,
    device: jax.Device,
    parts: int = 1,
) -> None:
    """Raises InputError where a kernel asked for by name does not run there."""
    if hindrance := _hindrance(kernel, config, dtype, length, device, parts):
        raise InputError(
            f"config.compute.attention={kernel!r} {hindrance}; choose 'auto', or 'masked', which "
            "runs anywhere"
        )


def is_hopper(device: jax.Device) -> bool:
    """Whether it is a Hopper GPU or a newer one."""
    return device.platform == "gpu" and float(device.compute_capability) >= _HOPPER


def _hindrance(
    kernel: Kernel, config: ModelConfig, dtype: str, length: int, device: jax.Device, parts: int
) -> str:
    """Why a kernel cannot be used; empty where it can."""
    match kernel:
        case "splash":
            if device.platform != "tpu":
                return f"runs on TPU, not on {device.device_kind}"
            if length // parts % LANES:
                return f"takes a multiple of {LANES} tokens on a device, not {length // parts}"
        case "cudnn":
            if not is_hopper(device):
                return f"runs on Hopper and newer GPUs, not on {device.device_kind}"
            if parts > 1:
                return "takes whole rows, and config.mesh.context splits them"
            if dtype != "bfloat16":
                return f"computes in bfloat16, not in {dtype}"
            if config.head_dim % 8 or config.head_dim > _LONGEST_HEAD:
                return (
                    f"takes a head_dim that is a multiple of 8 up to {_LONGEST_HEAD}, not "
                    f"{config.head_dim}"
                )
    return ""


def packed_attention(
    kernel: Kernel,
    positions: jax.Array,
    segment_ids: jax.Array,
    window: int | None,
    max_segments: int,
) -> PackedAttention:
    """Attention for rows packed so; what all layers share is computed once, here.

    Args:
      kernel: that runs on the device.
      positions: ``[batch, length]`` int32, restarting at zero in each segment; a device's own where
        several along ``context`` share the rows.
      segment_ids: ``[batch, length]`` int32, 0 for padding; likewise.
      window: how many positions a query sees, its own included; ``None``: all.
      max_segments: most segments in a row; ``cudnn`` is wrong on a row with more.
    """
    match kernel:
        case "splash":

            def splash(query, key, value, ids, key_ids):
                return splash_attention(
                    query, key, value, ids, window, key_segment_ids=key_ids, place=context_place()
                )

            attend = _per_device(splash, segment_ids, whole_rows(segment_ids))
            return lambda query, key, value: attend(query, _whole(key), _whole(value))
        case "cudnn" if max_segments == 1:
            # Causal as it is, nothing sees the padding that follows.
            return _per_device(partial(cudnn_causal_attention, window=window))
        case "cudnn":
            bounds = segment_bounds(segment_ids, max_segments + 1)  # and padding
            return _per_device(partial(cudnn_attention, window=window), *bounds)
        case _:
            keys = whole_rows(positions), whole_rows(segment_ids)
            mask = packed_mask(positions, segment_ids, window, *keys)
            return lambda query, key, value: named(
                masked_attention(query, _whole(key), _whole(value), mask), CONTEXT
            )


def _whole(array: jax.Array) -> jax.Array:
    """Keys or values of whole rows, of the heads that a device has."""
    if not is_split_by_hand("length"):
        return array
    return on_parts(whole_rows, array, "batch", "length", "key_value_heads", "head_dim")


def _per_device(kernel: Callable[..., jax.Array], *rows: jax.Array) -> PackedAttention:
    """Runs a kernel, which cannot be split by the compiler, on each device's rows and heads."""

    def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        mesh = jax.sharding.get_abstract_mesh()
        # All of them, also those of one device: Mosaic takes no kernel where any is left.
        axes = set(mesh.axis_names) - set(mesh.manual_axes)
        if mesh.size == 1 or not axes:
            return kernel(query, key, value, *rows)
        heads = only(partition_spec(("batch", "length", "heads", "head_dim")), axes)
        if key.shape[2] % mesh.shape["tensor"]:
            # Each device needs those that its query heads look at, which no even split gives.
            repeats = query.shape[2] // key.shape[2]
            key, value = (jnp.repeat(array, repeats, axis=2) for array in (key, value))
        batch = only(partition_spec(("batch", "length")), axes)
        return jax.shard_map(
            kernel,
            in_specs=(heads, heads, heads, *[batch] * len(rows)),
            out_specs=heads,
            axis_names=axes,
            check_vma=False,
        )(query, key, value, *rows)

    return attend
