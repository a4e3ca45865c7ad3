"""A GPU's own kernel that writes to the cache, against what it stands for."""

import dataclasses
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.rotary import angles, rotate
from ocijax.sample.rotate_and_write import is_for_mosaic, rotate_and_write
from tests.sample.conftest import CONFIG

PLACES = 64


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize(
    ("heads", "key_value_heads", "head_dim"), [(4, 4, 64), (8, 2, 128), (4, 1, 256)]
)
def test_queries_are_rotated_and_keys_and_values_written_where_they_belong(
    mosaic, heads, key_value_heads, head_dim, width
):
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), jnp.bfloat16)

    slots = 3
    query = normal(slots, width, heads, head_dim)
    key, value = (normal(slots, width, key_value_heads, head_dim) for _ in range(2))
    keys, values = (normal(slots, key_value_heads, PLACES, head_dim) for _ in range(2))
    config = dataclasses.replace(CONFIG, head_dim=head_dim)
    places = np.array([0, 17, PLACES - width], np.int32)
    positions = places[:, None] + np.arange(width)
    turns = angles(jnp.asarray(positions), config, jnp.float32)
    joined = jnp.concatenate([query, key, value], axis=2).reshape(slots * width, -1, head_dim)
    found = rotate_and_write(joined, turns, keys, values, jnp.asarray(places))

    rotated, written = rotate(query, positions, config), rotate(key, positions, config)
    expected = [rotated, np.array(keys), np.array(values)]
    for slot, token in np.ndindex(slots, width):
        expected[1][slot, :, positions[slot, token]] = written[slot, token]
        expected[2][slot, :, positions[slot, token]] = value[slot, token]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=2**-7
        )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"dtype": "float32"}, False),
        ({"dtype": "int8"}, False),
        ({"capability": "8.0"}, False),
        ({"devices": 2}, False),
        ({"heads": 1}, False),
        ({"head_dim": 96}, False),
    ],
)
def test_it_is_for_one_hopper_gpu_and_what_its_threads_divide(changed, expected):
    choices = {"dtype": "bfloat16", "capability": "9.0", "devices": 1, "heads": 8, "head_dim": 128}
    choices |= changed
    device = SimpleNamespace(platform="gpu", compute_capability=choices["capability"])
    devices = np.array([device] * choices["devices"])
    mesh = SimpleNamespace(devices=devices, size=devices.size)
    shape = {"num_key_value_heads": choices["heads"], "head_dim": choices["head_dim"]}
    config = dataclasses.replace(CONFIG, num_attention_heads=8, **shape)
    assert is_for_mosaic(config, choices["dtype"], mesh) == expected
