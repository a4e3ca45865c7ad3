"""Collectives are read from compiled text with the bytes that one counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ocijax.plan.collectives import Collective, read_collectives, wire_bytes_by_kind

P = PartitionSpec
ROWS, WIDTH = 1024, 512
KIBIBYTE = 1024


@pytest.fixture(scope="module")
def collectives(eight_chips):
    """Those of a function of sharded arrays on a 2 x 4 mesh, compiled for TPU."""
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2, devices=eight_chips)

    def read(function, specs, out_spec, *arrays):
        function = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=out_spec, check_vma=False
        )
        arguments = [
            jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
            for (shape, dtype), spec in zip(arrays, specs, strict=True)
        ]
        return read_collectives(jax.jit(function).lower(*arguments).compile().as_text())

    return read


def test_a_gather_sends_all_but_a_devices_own_part(collectives):
    [found] = collectives(
        lambda x: jax.lax.all_gather(x, "b", tiled=True),
        (P("b"),),
        P(),
        ((ROWS, WIDTH), jnp.bfloat16),
    )
    assert found == Collective("all-gather", "bf16", (ROWS, WIDTH), 4)
    assert found.wire_bytes == 3 / 4 * ROWS * WIDTH * 2


def test_a_reduce_scatter_sends_as_much_although_a_tpu_writes_it_as_an_all_reduce(collectives):
    [found] = collectives(
        lambda x: jax.lax.psum_scatter(x, ("a", "b"), tiled=True),
        (P(),),
        P(("a", "b")),
        ((ROWS, WIDTH), jnp.float32),
    )
    assert found == Collective("reduce-scatter", "f32", (ROWS, WIDTH), 8)
    assert found.wire_bytes == 7 / 8 * ROWS * WIDTH * 4


def test_an_all_reduce_sends_twice_as_much(collectives):
    [found] = collectives(
        lambda x: jax.lax.psum(x, "a"), (P("a"),), P(), ((ROWS, WIDTH), jnp.float32)
    )
    assert found == Collective("all-reduce", "f32", (ROWS // 2, WIDTH), 2)
    assert found.wire_bytes == 2 * 1 / 2 * ROWS // 2 * WIDTH * 4


def test_a_permutation_sends_the_array(collectives):
    ring = [(device, (device + 1) % 4) for device in range(4)]
    [found] = collectives(
        lambda x: jax.lax.ppermute(x, "b", ring), (P("b"),), P("b"), ((ROWS, WIDTH), jnp.bfloat16)
    )
    assert found == Collective("collective-permute", "bf16", (ROWS // 4, WIDTH), 8)
    assert found.wire_bytes == ROWS // 4 * WIDTH * 2


def test_an_all_to_all_sends_all_but_a_devices_own_part(collectives):
    found = collectives(
        lambda x: jax.lax.all_to_all(x, "b", 1, 0, tiled=True),
        (P("b"),),
        P(None, "b"),
        ((ROWS, WIDTH), jnp.bfloat16),
    )
    assert wire_bytes_by_kind(found) == {"all-to-all": 3 / 4 * ROWS // 4 * WIDTH * 2}


def test_what_a_loop_does_counts_as_often_as_it_turns(collectives):
    def layers(x, weights):
        def layer(x, weight):
            return x @ jax.lax.all_gather(weight, ("a", "b"), tiled=True), None

        return jax.lax.scan(layer, x, weights)[0]

    def twice(x, weights):
        return jax.lax.scan(lambda x, _: (layers(x, weights), None), x, length=2)[0]

    split = P(("a", "b")), P(None, ("a", "b"))
    arrays = ((ROWS, WIDTH), jnp.bfloat16), ((6, WIDTH, WIDTH), jnp.bfloat16)
    for function, turns in ((layers, 6), (twice, 12)):
        found = collectives(function, split, split[0], *arrays)
        assert sum(one.count for one in found) == turns
        assert wire_bytes_by_kind(found) == {"all-gather": turns * 7 / 8 * WIDTH * WIDTH * 2}


def test_a_gather_that_runs_beside_several_products_counts_once(collectives):
    """A TPU writes such a gather again in each fusion that it runs beside."""

    def layer(x, weights):
        for weight in weights:
            x = x @ jax.lax.all_gather(weight, ("a", "b"), tiled=True)
        return x

    weights = tuple(((1024, 1024), jnp.bfloat16) for _ in range(4))
    found = collectives(
        lambda x, *weights: layer(x, weights),
        (P(("a", "b")),) * 5,
        P(("a", "b")),
        ((8 * 1024, 1024), jnp.bfloat16),
        *weights,
    )
    assert sum(one.count for one in found) == 4
    assert wire_bytes_by_kind(found) == {"all-gather": 4 * 7 / 8 * 1024 * 1024 * 2}


GPU = """\
HloModule jit_step, is_scheduled=true, num_partitions=4

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%body (carry: (s32[], f32[256,64])) -> (s32[], f32[256,64]) {
  %carry = (s32[], f32[256,64]{1,0}) parameter(0)
  %turn = s32[] get-tuple-element(%carry), index=0
  %whole = f32[256,64]{1,0} get-tuple-element(%carry), index=1
  %reduce-scatter-start = ((f32[256,64]{1,0}), f32[128,64]{1,0}) reduce-scatter-start(%whole), \
channel_id=1, replica_groups=[2,2]<=[4], dimensions={0}, to_apply=%add
  %reduce-scatter-done = f32[128,64]{1,0} reduce-scatter-done(%reduce-scatter-start)
  %all-gather-start = (f32[128,64]{1,0}, f32[256,64]{1,0}) all-gather-start(\
%reduce-scatter-done), channel_id=2, replica_groups={{0,1},{2,3}}, dimensions={0}
  %all-gather-done = f32[256,64]{1,0} all-gather-done(%all-gather-start)
  ROOT %next = (s32[], f32[256,64]{1,0}) tuple(%turn, %all-gather-done)
}

%condition (state: (s32[], f32[256,64])) -> pred[] {
  %state = (s32[], f32[256,64]{1,0}) parameter(0)
  ROOT %more = pred[] constant(true)
}

%wrapped (part: s8[1024]) -> s8[1024] {
  %part = s8[1024]{0} parameter(0)
  ROOT %permuted = s8[1024]{0} collective-permute(%part), source_target_pairs={{0,1},{1,0}}
}

ENTRY %main (state: (s32[], f32[256,64]), bytes: s8[1024]) -> f32[256,64] {
  %state = (s32[], f32[256,64]{1,0}) parameter(0)
  %bytes = s8[1024]{0} parameter(1)
  %while = (s32[], f32[256,64]{1,0}) while(%state), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  %async-start = ((s8[1024]{0}), s8[1024]{0}) async-start(%bytes), calls=%wrapped
  %async-done = s8[1024]{0} async-done(%async-start), calls=%wrapped
  %whole = f32[256,64]{1,0} get-tuple-element(%while), index=1
  %all-reduce-start = f32[256,64]{1,0} all-reduce-start(%whole), replica_groups={}, to_apply=%add
  ROOT %all-reduce-done = f32[256,64]{1,0} all-reduce-done(%all-reduce-start)
}
"""


def test_a_gpus_asynchronous_pairs_count_once():
    assert set(read_collectives(GPU)) == {
        Collective("reduce-scatter", "f32", (256, 64), 2, count=5),
        Collective("all-gather", "f32", (256, 64), 2, count=5),
        Collective("collective-permute", "s8", (1024,), 2),
        Collective("all-reduce", "f32", (256, 64), 4),
    }
    assert wire_bytes_by_kind(read_collectives(GPU)) == {
        "reduce-scatter": 5 * 32 * KIBIBYTE,
        "all-gather": 5 * 32 * KIBIBYTE,
        "all-reduce": 96 * KIBIBYTE,
        "collective-permute": 1 * KIBIBYTE,
    }


def test_a_program_of_one_device_moves_nothing():
    compiled = jax.jit(jnp.sin).lower(1.0).compile()
    assert read_collectives(compiled.as_text()) == ()
