"""What the train step holds and sends on a TPU pod, read from the text compiled for it.

Models of the paper on the pods that train them, cut down in width and depth.
"""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from ocijax.model.decoder import ComputeConfig
from ocijax.model.presets import get_preset
from ocijax.plan.collectives import read_collectives, wire_bytes_by_kind
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.config import DataConfig, Recipe, TrainConfig
from ocijax.train.optimizer import make_optimizer
from ocijax.train.step import abstract_state, batch_sharding, make_train_step, trained_table

LENGTH = 640  # a dimension that no parameter has
PODS = {
    "codellama-7b-python": "v5e:8x8",  # of Llama 2's sizes, as the 70B is
    "deepseek-coder-33b": "v5p:4x4x4",
    "codellama-70b-python": "v5p:4x4x4",
    "starcoder2-15b": "v6e:4x4",
}
EFFORTS = "jax_optimization_level", "jax_memory_fitting_level"


def cut_down(config):
    """Two layers, narrow, but of a width whose parts on 64 chips fill the tiles of a TPU."""
    return replace(
        config,
        num_hidden_layers=2,
        hidden_size=1024,
        intermediate_size=config.intermediate_size // 8,
        num_attention_heads=config.num_attention_heads // 8,
        num_key_value_heads=max(1, config.num_key_value_heads // 8),
        vocab_size=config.vocab_size // 8,
    )


def compiled(model, mesh, rows_each=1):
    """The recipe, and its step compiled for so many rows a device."""
    rows = rows_each * mesh.shape["data"] * mesh.shape["fsdp"]
    recipe = Recipe(
        cut_down(get_preset(model)),
        DataConfig(("none",), "none", "none", length=LENGTH),
        TrainConfig(batch_size=rows, logits_chunk=LENGTH // 2),
        ComputeConfig("bfloat16"),
    )
    optimizer = make_optimizer(recipe.train, trained_table(recipe), 1)
    dtypes = dict.fromkeys(("tokens", "positions", "segment_ids"), jnp.int32)
    batch = {
        name: jax.ShapeDtypeStruct((rows, LENGTH), dtype, sharding=batch_sharding(mesh))
        for name, dtype in {**dtypes, "loss_weights": jnp.float32}.items()
    }
    step = make_train_step(recipe, optimizer, mesh)
    lowered = step.lower(abstract_state(recipe, optimizer, mesh), batch)
    return recipe, lowered.compile()


@pytest.fixture(scope="module", autouse=True)
def _quickly():
    """Compiles in a third of the time; what is sent stays."""
    before = {name: getattr(jax.config, name) for name in EFFORTS}
    for name in EFFORTS:
        jax.config.update(name, "O0")
    yield
    for name, level in before.items():
        jax.config.update(name, level)


_LARGE = ("codellama-70b-python", "deepseek-coder-33b", "starcoder2-15b")
"""Take longest to compile: left to the soak."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.soak if name in _LARGE else []) for name in PODS],
)
def program(request, chips):
    """A recipe, its compiled step and what that sends."""
    mesh = make_mesh(MeshConfig(1, -1), chips(PODS[request.param]))
    recipe, step = compiled(request.param, mesh)
    return recipe, mesh, step, read_collectives(step.as_text())


def dimensions(shape):
    return [size for size in shape if size > 1]


def is_of(spec, shape):
    """Whether an array is a parameter, or part of one on the way to be whole."""
    whole = [pair for pair in zip(spec.layer_shape, spec.layer_axes, strict=True) if pair[0] > 1]
    return len(whole) == len(shape) and all(
        part == size or (axis == "hidden" and size % part == 0)
        for part, (size, axis) in zip(shape, whole, strict=True)
    )


def test_only_parameters_are_gathered_and_in_bf16(program):
    recipe, mesh, _, collectives = program
    table = trained_table(recipe)
    for one in collectives:
        # Vectors, such as the weights of norms, travel in any shape.
        if one.kind == "all-gather" and math.prod(one.shape) > recipe.model.hidden_size:
            assert any(is_of(spec, dimensions(one.shape)) for spec in table.values()), one
            assert one.dtype == "bf16", one
    # The layers' twice: in the forward pass and in the backward.
    sent = sum(spec.size * (1 + spec.stacked) for spec in table.values())
    ideal = 2 * sent * (mesh.size - 1) / mesh.size
    assert wire_bytes_by_kind(collectives)["all-gather"] == pytest.approx(ideal, rel=0.02)


def test_gradients_are_scattered_in_bf16_and_never_reduced_whole(program):
    recipe, mesh, _, collectives = program
    table = trained_table(recipe)
    smallest = min(math.prod(spec.layer_shape) for spec in table.values() if spec.inputs)
    for one in collectives:
        if one.kind == "all-reduce" and one.group_size > 1:
            assert math.prod(one.shape) < smallest, one  # norms, biases and sums of losses
    size = sum(spec.size for spec in table.values())
    ideal = 2 * size * (mesh.size - 1) / mesh.size
    assert wire_bytes_by_kind(collectives)["reduce-scatter"] == pytest.approx(ideal, rel=0.02)


def test_it_sends_four_fifths_at_most_of_a_step_that_reduces_gradients_whole(program):
    """As MaxText's does, see `benchmarks/maxtext.py`."""
    recipe, mesh, _, collectives = program
    table = trained_table(recipe)
    gathered = sum(spec.size * (1 + spec.stacked) for spec in table.values())
    reduced = 2 * sum(spec.size for spec in table.values())
    theirs = 2 * (gathered + reduced) * (mesh.size - 1) / mesh.size
    assert sum(wire_bytes_by_kind(collectives).values()) <= 0.8 * theirs


@pytest.mark.parametrize(
    "model",
    ["codellama-7b-python", pytest.param("codellama-70b-python", marks=pytest.mark.soak)],
)
def test_of_several_rows_no_transposed_copies_are_held(model, chips):
    """Gradients of weights take rows and positions as they are, not as one flat dimension."""
    mesh = make_mesh(MeshConfig(1, -1), chips(PODS[model]))
    _, step = compiled(model, mesh, rows_each=4)
    assert f",{4 * LENGTH}]" not in step.as_text()


def test_a_device_holds_its_share_of_the_state_and_no_more(program):
    recipe, mesh, step, _ = program
    # Parameters and two moments in fp32.
    ideal = 3 * 4 * sum(spec.size for spec in trained_table(recipe).values()) / mesh.size
    held = step.memory_analysis().argument_size_in_bytes
    # With the batch, and with what fills the tiles of such small arrays.
    assert held == pytest.approx(ideal, rel=0.05)


def test_of_rows_split_over_context_keys_and_values_alone_are_gathered(chips):
    mesh = make_mesh(MeshConfig(data=1, fsdp=2, context=2, tensor=2), chips("v5e:2x4"))
    recipe, step = compiled("deepseek-coder-6.7b", mesh)
    config = recipe.model
    heads = config.num_key_value_heads // 2  # of this device
    keys = {math.prod((LENGTH, heads, config.head_dim)), LENGTH}  # and their segment ids
    for one in read_collectives(step.as_text()):
        if one.kind == "all-gather" and {LENGTH, LENGTH // 2} & set(one.shape):
            assert math.prod(one.shape) in keys, one
