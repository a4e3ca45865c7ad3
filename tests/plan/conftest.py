"""A tiny recipe, and a TPU topology, for which libtpu compiles on any machine."""

from dataclasses import replace

import pytest

from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.plan.topology import find_devices
from ocijax.sharding import MeshConfig
from ocijax.train.config import DataConfig, Recipe, TrainConfig

TINY = Recipe(
    ModelConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=128,
        max_position_embeddings=2048,
    ),
    DataConfig(("absent",), "absent", "llama-2", length=128),
    TrainConfig(batch_size=4, remat="full", logits_chunk=128),
    ComputeConfig("bfloat16"),
    MeshConfig(data=1, fsdp=-1),
)
"""Four rows of 128 tokens through two layers, fully sharded; quick to compile for a TPU."""


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """`TINY`."""
    return TINY


@pytest.fixture(scope="session")
def change():
    """Gives a recipe with other training settings."""
    return lambda recipe, **settings: replace(recipe, train=replace(recipe.train, **settings))


@pytest.fixture(scope="session")
def four_chips():
    """The devices of a v5e of 2 x 2 chips."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    return find_devices("v5e:2x2")


@pytest.fixture(scope="session")
def eight_chips():
    """The devices of a v5e of 2 x 4 chips."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    return find_devices("v5e:2x4")
