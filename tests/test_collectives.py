"""Gradients are scattered one side of a TPU's torus at a time; tests/train has what that gives."""

import itertools

import numpy as np
import pytest

from ocijax.collectives import along_sides, box, stages
from ocijax.sharding import MeshConfig, make_mesh


@pytest.mark.parametrize("sizes", [(8, 8), (4, 4, 4), (2, 8), (4,)])
def test_devices_in_the_order_of_a_box_fill_one(sizes):
    coordinates = np.array(list(itertools.product(*map(range, sizes))))
    assert box(coordinates) == sizes


def test_devices_that_fill_no_box_are_taken_all_at_once():
    assert box(np.array([[0, 0], [1, 1], [0, 1], [1, 0]])) == (4,)


def test_the_outermost_side_comes_first():
    assert along_sides("fsdp", (2, 3)) == (
        ("fsdp", ((0, 3), (1, 4), (2, 5))),
        ("fsdp", ((0, 1, 2), (3, 4, 5))),
    )


@pytest.mark.parametrize(
    ("topology", "mesh", "sizes"),
    [
        ("v5e:8x8", MeshConfig(1, 64), [8, 8]),
        ("v5p:4x4x4", MeshConfig(1, 64), [4, 4, 4]),
        ("v5p:4x4x4", MeshConfig(2, 32), [4, 4, 2]),
        ("v6e:4x4", MeshConfig(1, 4, 4), [4]),
    ],
)
def test_a_mesh_of_a_torus_has_a_stage_for_each_side(chips, topology, mesh, sizes):
    found = stages(make_mesh(mesh, chips(topology)), "fsdp")
    assert [len(groups[0]) for _, groups in found] == sizes
