"""The decoder against transformers: tiny Llamas of tests/golden/make_llama.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.data.example import Example
from ocijax.data.packing import pack
from ocijax.model.config import ModelConfig, RopeScaling
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import from_hugging_face, parameter_table
from ocijax.train.loss import batch_loss

TEXTS = 3
LENGTH = 24


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "llama.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=["tied", "untied"])
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def config(variant):
    return ModelConfig(
        vocab_size=48,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=64,
        rope_theta=100_000.0,
        rope_scaling=RopeScaling("linear", 4.0),
        tie_word_embeddings=variant == "tied",
    )


def read(golden, prefix, config):
    """Arrays under their Hugging Face names, in our layout."""

    def tensor(spec, layer):
        name = spec.hugging_face.format(layer=layer)
        return from_hugging_face(spec, jnp.asarray(golden[f"{prefix}/{name}"]))

    return {
        path: jnp.stack([tensor(spec, layer) for layer in range(config.num_hidden_layers)])
        if spec.axes[0] == "layers"
        else tensor(spec, 0)
        for path, spec in parameter_table(config).items()
    }


def rows_of(golden, texts, length=LENGTH):
    """The texts packed into as few rows as they need."""
    examples = [Example(golden[f"tokens/{i}"], golden[f"weights/{i}"]) for i in texts]
    rows = list(pack(examples, length))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def logits(golden, variant, config):
    """The jitted forward: a batch in, logits ``[rows, length, vocab]`` out."""
    parameters = read(golden, f"{variant}/parameters", config)

    @jax.jit
    def forward(tokens, positions, segment_ids):
        decoder = Decoder(config, ComputeConfig("float32", "none"), parameters)
        return decoder.logits(decoder(tokens, positions, segment_ids))

    return lambda batch: np.asarray(
        forward(batch["tokens"], batch["positions"], batch["segment_ids"])
    )


@pytest.mark.parametrize("text", range(TEXTS))
def test_padded_text_gives_the_logits_of_transformers(golden, variant, logits, text):
    batch = rows_of(golden, [text])
    expected = golden[f"{variant}/logits/{text}"]
    np.testing.assert_allclose(logits(batch)[0, : len(expected)], expected, atol=1e-4, rtol=0)


def test_packed_rows_give_each_text_the_logits_it_has_alone(golden, variant, logits):
    batch = rows_of(golden, range(TEXTS))
    assert len(batch["tokens"]) == 2, "two texts share a row"
    found = logits(batch)
    for text in range(TEXTS):
        tokens = golden[f"tokens/{text}"]
        ((row, segment),) = {
            (row, segment)
            for row in range(2)
            for segment in range(1, 1 + batch["segment_ids"][row].max())
            if np.array_equal(batch["tokens"][row][batch["segment_ids"][row] == segment], tokens)
        }
        place = batch["segment_ids"][row] == segment
        np.testing.assert_allclose(
            found[row][place], golden[f"{variant}/logits/{text}"], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize(
    ("variant", "compute"),
    [
        ("tied", ("none", True)),
        ("untied", ("none", True)),
        ("untied", ("full", True)),
        ("untied", ("none", False)),
    ],
    indirect=["variant"],
)
def test_masked_loss_and_its_gradient_are_those_of_transformers(golden, variant, config, compute):
    batch = rows_of(golden, range(TEXTS))

    def loss(parameters):
        decoder = Decoder(config, ComputeConfig("float32", *compute), parameters)
        return batch_loss(decoder, batch, chunk=8)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(
        read(golden, f"{variant}/parameters", config)
    )
    np.testing.assert_allclose(value, golden[f"{variant}/loss"], rtol=1e-5)
    for path, expected in read(golden, f"{variant}/gradients", config).items():
        error = np.linalg.norm(gradient[path] - expected) / np.linalg.norm(expected)
        assert error < 1e-4, path


def test_head_dimension_must_be_even(config):
    with pytest.raises(ValueError, match="head_dim must be even"):
        ModelConfig(**{**vars(config), "head_dim": 3})


def test_key_value_heads_must_divide_heads(config):
    with pytest.raises(ValueError, match=r"num_attention_heads \(6\) must be a multiple"):
        ModelConfig(**{**vars(config), "num_key_value_heads": 4})
