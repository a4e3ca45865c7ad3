"""Sampling on a mesh of eight devices gives what one device gives."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
import sys

import jax

from ocijax.model.parameters import init_parameters, parameter_shardings
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import LLAMA2
from ocijax.tokenizer import load_tokenizer
from tests.sample.conftest import COMPUTE, CONFIG, conversation

fresh = init_parameters(CONFIG, jax.random.key(0))
parameters = {path: array if "norm" in path else 8 * array for path, array in fresh.items()}
asked = [conversation(words) for words in (1, 12, 5, 9, 30)]
results = []
for sizes in json.loads(sys.argv[2]):
    devices = jax.devices()[:1] if sizes == [1, 1, 1] else jax.devices()
    mesh = make_mesh(MeshConfig(*sizes), devices)
    placed = jax.device_put(parameters, parameter_shardings(CONFIG, mesh))
    sampler = Sampler(
        CONFIG, placed, load_tokenizer(sys.argv[1]), LLAMA2, compute=COMPUTE, mesh=mesh
    )
    completions = sampler.generate(asked, SamplingSettings(max_new_tokens=20))
    results.append([one.tokens for one in completions])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def answers(tiny_tokenizer_file) -> dict[tuple[int, int, int], list[list[int]]]:
    """Greedy tokens by mesh."""
    meshes = [(1, 1, 1), (8, 1, 1), (2, 2, 2), (1, 2, 4)]
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_tokenizer_file), json.dumps(meshes)],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    return dict(zip(meshes, json.loads(output), strict=True))


@pytest.mark.parametrize("mesh", [(8, 1, 1), (2, 2, 2), (1, 2, 4)])
def test_the_tokens_are_those_of_one_device(answers, mesh):
    assert answers[mesh] == answers[1, 1, 1]
