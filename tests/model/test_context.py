"""Devices along ``context`` share the positions of a row; meshes are in tests/train."""

import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.attention import masked_attention, packed_mask
from ocijax.model.context import shared_order
from ocijax.model.splash import splash_attention

LENGTH, PARTS = 512, 2


def test_each_device_has_a_piece_from_either_end_of_a_row():
    assert shared_order(12, 3).reshape(3, 4).tolist() == [
        [0, 1, 10, 11],
        [2, 3, 8, 9],
        [4, 5, 6, 7],
    ]


def test_causal_attention_costs_each_device_the_same():
    pairs = (shared_order(64, 4) + 1).reshape(4, -1).sum(axis=1)
    assert len(set(pairs)) == 1


@pytest.mark.parametrize("window", [None, 100])
def test_splash_gives_the_queries_of_a_device_what_the_mask_gives(window):
    random = np.random.default_rng(0)
    query, key, value = (
        jnp.asarray(random.standard_normal((1, LENGTH, heads, 64)), jnp.float32)
        for heads in (2, 1, 1)
    )
    sizes = [200, 300]
    ids = jnp.repeat(jnp.array([1, 2, 0]), jnp.array([*sizes, LENGTH - sum(sizes)]))[None]
    positions = jnp.concatenate([jnp.arange(size) for size in (*sizes, LENGTH - sum(sizes))])[None]
    whole = masked_attention(query, key, value, packed_mask(positions, ids, window))
    for index, order in enumerate(shared_order(LENGTH, PARTS).reshape(PARTS, -1)):
        part = splash_attention(
            query[:, order],
            key,
            value,
            ids[:, order],
            window,
            interpret=True,
            key_segment_ids=ids,
            place=(index, PARTS),
        )
        real = np.asarray(ids[0, order] > 0)
        np.testing.assert_allclose(part[0, real], whole[0, order][real], rtol=1e-4, atol=1e-5)
