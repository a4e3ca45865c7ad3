"""A GPU's own kernel for the products of a layer, against the decoder's."""

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import Decoder, project_transposed
from ocijax.model.parameters import LAYERS, init_parameters, parameter_table
from ocijax.model.presets import get_preset
from ocijax.sample import engine, fused_layers
from ocijax.sample.fused_layers import programs_for, run_layers
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sample.weights import sampling_weights
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import LLAMA2
from tests.sample.conftest import COMPUTE, Bytes

CONFIG = ModelConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=256,
)
"""Of widths that are multiples of what is copied at once."""


@pytest.fixture(scope="module")
def parameters() -> dict[str, jax.Array]:
    fresh = init_parameters(CONFIG, jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(fresh))
    return {
        path: array + jax.random.normal(key, array.shape) / 4 if "norm" in path else 4 * array
        for (path, array), key in zip(fresh.items(), keys, strict=True)
    }


@pytest.mark.parametrize(("slots", "width"), [(8, 1), (2, 8)])
def test_layers_give_the_same_hidden_states(mosaic, parameters, slots, width):
    """With a context of each token's own query, key and value, so that all count.

    On a GPU by as many programs as it has multiprocessors; the interpreter has but one.
    """
    device = jax.local_devices()[0]
    emulated = device.platform == "cpu"
    dtype, programs = ("float32", 1) if emulated else ("bfloat16", device.core_count)
    mesh = make_mesh(MeshConfig(), [device])
    weights = sampling_weights(CONFIG, parameters, dtype, mesh, transposed=True)
    compute = replace(COMPUTE, dtype=dtype)
    decoder = Decoder(CONFIG, compute, weights, project=project_transposed)
    tokens = jax.random.randint(jax.random.key(2), (slots, width), 0, CONFIG.vocab_size)
    together = CONFIG.num_attention_heads // CONFIG.num_key_value_heads

    def attend(index, query, key, value, state):
        context = query + jnp.repeat(key * value, together, axis=2)
        return context, state + index

    def attend_joined(joined, state):
        joined = joined[: tokens.size].reshape(slots, width, -1, CONFIG.head_dim)
        heads, key_value_heads = CONFIG.num_attention_heads, CONFIG.num_key_value_heads
        parts = jnp.split(joined, (heads, heads + key_value_heads), axis=2)
        return attend(1, *parts, state)

    expected, _ = decoder.run_layers(tokens, None, attend, 0)
    found, state = run_layers(decoder, tokens, attend_joined, 0, programs)
    found, expected = (np.asarray(array, np.float32) for array in (found, expected))
    np.testing.assert_allclose(found, expected, atol=1e-4 if emulated else 0.1)
    assert state == CONFIG.num_hidden_layers


# In 16 bits, which is all that a GPU's kernel takes, rounding may choose other tokens.
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="float32 runs by the interpreter only")
def test_answers_are_the_same(monkeypatch, mosaic, parameters):
    asked = [
        Conversation(str(words), (Message("user", f"again {'word ' * words}"),)) for words in (2, 5)
    ]

    def answers(**choices) -> list[tuple[int, ...]]:
        sampler = Sampler(CONFIG, parameters, Bytes(), LLAMA2, compute=COMPUTE, slots=8, **choices)
        return [one.tokens for one in sampler.generate(asked, SamplingSettings(max_new_tokens=3))]

    expected = answers()
    monkeypatch.setattr(engine, "is_for_mosaic", lambda *choices: True)
    monkeypatch.setattr(engine, "programs_for", lambda *choices: 1)
    fused = mock.Mock(wraps=fused_layers.fused_products)
    monkeypatch.setattr(fused_layers, "fused_products", fused)
    assert answers(draft_tokens=3) == expected
    assert fused.called


LLAMA = "deepseek-coder-6.7b"


@pytest.mark.parametrize(
    ("changed", "programs"),
    [
        ({}, 132),
        ({"model": "deepseek-coder-1.3b"}, 132),
        ({"rows": 8}, 132),
        ({"rows": 4}, 0),
        ({"rows": 64}, 0),
        ({"dtype": "float32"}, 0),
        ({"capability": "10.0"}, 0),
        ({"devices": 2}, 0),
        ({"model": "starcoder2-7b"}, 0),
        ({"model": "qwen2.5-coder-7b"}, 0),
        ({"model": "gemma-7b"}, 0),
        ({"adapter": "query_lora_a"}, 0),
        # Of whose 4,096 hidden numbers programs would have 40 each: too many for the last one.
        ({"processors": 114}, 0),
    ],
)
def test_it_is_for_llamas_on_one_hopper_gpu_that_divide_among_its_processors(changed, programs):
    choices = {"model": LLAMA, "dtype": "bfloat16", "capability": "9.0", "devices": 1}
    choices |= {"rows": 32, "processors": 132, "adapter": None} | changed
    device = SimpleNamespace(
        platform="gpu",
        compute_capability=choices["capability"],
        core_count=choices["processors"],
    )
    devices = np.array([device] * choices["devices"])
    mesh = SimpleNamespace(devices=devices, size=devices.size)
    config = get_preset(choices["model"])
    paths = [*parameter_table(config)]
    if choices["adapter"]:
        paths.append(f"{LAYERS}{choices['adapter']}")
    assert programs_for(config, paths, choices["dtype"], mesh, choices["rows"]) == programs
