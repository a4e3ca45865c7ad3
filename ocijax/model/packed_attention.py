"""Attention over packed rows by the fastest kernel that a device has; chosen here alone.

``splash`` on TPU, ``cudnn`` on Hopper and newer GPUs, ``masked`` anywhere: the reference that the
others are tested against, which holds a score for each pair of positions.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from ocijax.errors import InputError
from ocijax.model.attention import masked_attention, packed_mask
from ocijax.model.config import ModelConfig
from ocijax.model.cudnn import cudnn_attention, segment_bounds
from ocijax.model.remat import CONTEXT, named
from ocijax.model.splash import LANES, splash_attention
from ocijax.sharding import partition_spec

Kernel = Literal["splash", "cudnn", "masked"]

PackedAttention = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""``(query, key, value) -> context``, ``[batch, length, heads, head_dim]``, key and value with the
key and value heads."""

_LONGEST_HEAD = 256  # that cuDNN takes on Hopper
_HOPPER = 9.0


def choose_kernel(config: ModelConfig, dtype: str, length: int, device: jax.Device) -> Kernel:
    """The fastest kernel for rows of this length on that device."""
    for kernel in ("splash", "cudnn"):
        if not _hindrance(kernel, config, dtype, length, device):
            return kernel
    return "masked"


def check_kernel(
    kernel: Kernel, config: ModelConfig, dtype: str, length: int, device: jax.Device
) -> None:
    """Raises InputError where a kernel asked for by name does not run there."""
    if hindrance := _hindrance(kernel, config, dtype, length, device):
        raise InputError(
            f"config.compute.attention={kernel!r} {hindrance}; choose 'auto', or 'masked', which "
            "runs anywhere"
        )


def _hindrance(
    kernel: Kernel, config: ModelConfig, dtype: str, length: int, device: jax.Device
) -> str:
    """Why a kernel cannot be used; empty where it can."""
    match kernel:
        case "splash":
            if device.platform != "tpu":
                return f"runs on TPU, not on {device.device_kind}"
            if length % LANES:
                return f"takes rows of a multiple of {LANES} tokens, not {length}"
        case "cudnn":
            if device.platform != "gpu" or float(device.compute_capability) < _HOPPER:
                return f"runs on Hopper and newer GPUs, not on {device.device_kind}"
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
      positions: ``[batch, length]`` int32, restarting at zero in each segment.
      segment_ids: ``[batch, length]`` int32, 0 for padding.
      window: how many positions a query sees, its own included; ``None``: all.
      max_segments: most segments in a row; a row with more gives no numbers.
    """
    match kernel:
        case "splash":
            return _per_device(
                lambda query, key, value, ids: splash_attention(query, key, value, ids, window),
                segment_ids,
            )
        case "cudnn":
            bounds = segment_bounds(segment_ids, max_segments + 1)  # and padding
            return _per_device(partial(cudnn_attention, window=window), *bounds)
        case _:
            mask = packed_mask(positions, segment_ids, window)
            return lambda query, key, value: named(
                masked_attention(query, key, value, mask), CONTEXT
            )


def _per_device(kernel: Callable[..., jax.Array], *rows: jax.Array) -> PackedAttention:
    """Runs a kernel, which cannot be split by the compiler, on each device's rows and heads."""

    def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        mesh = jax.sharding.get_abstract_mesh()
        # All of them, also those of one device: Mosaic takes no kernel where any is left.
        axes = set(mesh.axis_names) - set(mesh.manual_axes)
        if mesh.size == 1 or not axes:
            return kernel(query, key, value, *rows)
        heads = _only(partition_spec(("batch", "length", "heads", "head_dim")), axes)
        if key.shape[2] % mesh.shape["tensor"]:
            # Each device needs those that its query heads look at, which no even split gives.
            repeats = query.shape[2] // key.shape[2]
            key, value = (jnp.repeat(array, repeats, axis=2) for array in (key, value))
        batch = _only(partition_spec(("batch", "length")), axes)
        return jax.shard_map(
            kernel,
            in_specs=(heads, heads, heads, *[batch] * len(rows)),
            out_specs=heads,
            axis_names=axes,
            check_vma=False,
        )(query, key, value, *rows)

    return attend


def _only(spec: PartitionSpec, axes: set[str]) -> PartitionSpec:
    """The part of a spec that names these mesh axes."""

    def kept(entry):
        names = (entry,) if isinstance(entry, str) else entry or ()
        return tuple(name for name in names if name in axes) or None

    return PartitionSpec(*map(kept, spec))
