from dataclasses import replace

import pytest

from ocijax.model.parameters import parameter_count
from ocijax.plan.sampling import plan_sampling
from ocijax.plan.topology import find_devices
from ocijax.sharding import MeshConfig

ROWS, CONTEXT = 8, 512


@pytest.fixture(scope="module")
def answering(tiny):
    """The tiny model, its rows over two devices and its heads over two."""
    return replace(tiny, mesh=MeshConfig(data=2, tensor=2))


def cache_bytes(model, rows: int, context: int) -> int:
    """Of keys and values in bfloat16."""
    heads = model.num_key_value_heads * model.head_dim
    return 2 * 2 * model.num_hidden_layers * heads * rows * context


def test_weights_and_cache_are_split_as_the_sampler_splits_them(answering):
    plan = plan_sampling(answering, find_devices("h200:4"), ROWS, CONTEXT)
    assert not plan.compiled
    assert plan.cache == cache_bytes(answering.model, ROWS, CONTEXT) / 4
    whole = 2 * parameter_count(answering.model)
    assert whole / 2 <= plan.parameters < 0.6 * whole  # norms are not split


def test_as_many_conversations_fit_as_memory_is_left_for(answering):
    plan = plan_sampling(answering, find_devices("h200:4"), ROWS, CONTEXT)
    assert list(plan.capacities) == [1024, 2048]
    free = plan.memory_limit - plan.parameters
    for context, rows in plan.capacities.items():
        taken = cache_bytes(answering.model, rows, context) / 4
        assert taken <= free < taken + cache_bytes(answering.model, 2, context) / 4
        assert rows % 2 == 0


def test_reading_and_decoding_are_compiled_for_a_tpu(answering, four_chips):
    plan = plan_sampling(answering, four_chips, ROWS, CONTEXT)
    assert plan.compiled
    assert plan.fits
    assert plan.memory.peak > plan.parameters + plan.cache
    # Heads are split: each layer adds up what the devices of a pair computed.
    assert any(one.kind == "all-reduce" and one.group_size == 2 for one in plan.collectives)
