"""What sampling takes of each device: weights, cache, and how many conversations fit."""

import time
from dataclasses import dataclass, replace
from itertools import takewhile

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ocijax.devices import memory_limit
from ocijax.plan.plan import Plan
from ocijax.plan.program import Memory, compile_program
from ocijax.plan.topology import AbsentGpu, Devices
from ocijax.plan.training import Observe
from ocijax.sample.cache import abstract_cache
from ocijax.sample.decode_attention import choose_decode_kernel
from ocijax.sample.decoding import DTYPES, Rows, decode, prefill
from ocijax.sample.engine import CHUNK_ROWS, LONGEST_CHUNK
from ocijax.sample.prefill_attention import choose_prefill_kernel
from ocijax.sample.weights import abstract_weights
from ocijax.sharding import axis_size, bytes_on_a_device, make_mesh
from ocijax.train.config import Recipe

_STEPS = 8
"""Tokens that are decoded at once, as `ocijax.sample.sampler.Sampler` has it."""

_SHORTEST = 1024


@dataclass(frozen=True)
class SamplingPlan(Plan):
    """What answering takes of each device.

    Attributes:
      rows: conversations answered at once, over all devices.
      context: tokens of each, the answer among them.
      cache: bytes of keys and values on one device.
      capacities: for contexts up to the model's, how many conversations of them fit at once,
        reckoned in proportion to what ``rows`` of ``context`` take.
    """

    rows: int
    context: int
    cache: int
    capacities: dict[int, int]


def plan_sampling(
    recipe: Recipe,
    devices: Devices,
    rows: int,
    context: int,
    observe: Observe = lambda doing: None,
) -> SamplingPlan:
    """Compiles prefill and decode of a recipe's model, or estimates them where nothing can.

    Of a plan's collectives, those are meant that decode a token of each conversation.

    Args:
      recipe: model, compute and mesh of it count.
      devices: of `ocijax.plan.topology.find_devices`, or those here.
      rows: conversations answered at once, over all devices.
      context: tokens of each, the answer among them.
      observe: told what is compiled.

    Raises:
      InputError: mesh and model, or mesh and rows, do not fit each other.
    """
    mesh = make_mesh(recipe.mesh, devices)
    model, dtype = recipe.model, recipe.compute.dtype
    parameters = abstract_weights(model, dtype, mesh)
    cache = abstract_cache(model, dtype, mesh, rows, context)
    weights, cached = bytes_on_a_device(parameters), bytes_on_a_device(cache)
    begun = time.perf_counter()
    if compiled := not isinstance(devices[0], AbsentGpu):
        static = {"config": model, "compute": recipe.compute, "mesh": mesh}
        everywhere = NamedSharding(mesh, PartitionSpec())

        def numbers(dtype: jnp.dtype, *shape: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=everywhere)

        count, length = min(CHUNK_ROWS, rows), min(LONGEST_CHUNK, context)
        observe(f"prefill of {count} x {length:,} tokens")
        lowered = prefill.lower(
            parameters,
            cache=cache,
            hidden=numbers(dtype, count, model.hidden_size),
            tokens=numbers(jnp.int32, count, length),
            slots=numbers(jnp.int32, count),
            starts=numbers(jnp.int32, count),
            ends=numbers(jnp.int32, count),
            window=context,
            kernel=choose_prefill_kernel(model, dtype, mesh),
            **static,
        )
        reading = compile_program(lowered, weights + cached).memory
        # The head stays where it is, although prefill does not read it.
        reading = replace(reading, arguments=max(reading.arguments, weights + cached))
        observe(f"decode with {rows} x {context:,} tokens in the cache")
        lowered = decode.lower(
            parameters,
            cache=cache,
            rows=Rows(*(numbers(jnp.dtype(dtype), rows) for dtype in DTYPES)),
            history=numbers(jnp.int32, rows, 0),
            stop_ids=numbers(jnp.int32, 1),
            steps=_STEPS,
            window=context,
            kernel=choose_decode_kernel(model, dtype, mesh, rows),
            **static,
        )
        answering = compile_program(lowered, weights + cached)
        memory = max(reading, answering.memory, key=lambda one: one.peak)
        collectives = answering.collectives
    else:
        # What the programs need beside is little.
        memory, collectives = Memory(weights + cached), ()
    limit = memory_limit(devices[0])
    a_token = (memory.peak - weights) / (rows * context)
    parts = axis_size(mesh, "batch")
    return SamplingPlan(
        device_kind=devices[0].device_kind,
        devices=len(devices),
        mesh=dict(mesh.shape),
        memory_limit=limit,
        compiled=compiled,
        seconds=time.perf_counter() - begun,
        parameters=weights,
        memory=memory,
        collectives=collectives,
        rows=rows,
        context=context,
        cache=cached,
        capacities={
            length: max(0, int((limit - weights) / (a_token * length)) // parts * parts)
            for length in _contexts(model.max_position_embeddings)
        },
    )


def _contexts(longest: int) -> list[int]:
    """Powers of two up to the longest, and that one."""
    powers = (1 << exponent for exponent in range(_SHORTEST.bit_length() - 1, 64))
    return [*takewhile(lambda length: length < longest, powers), longest]
