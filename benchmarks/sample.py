"""Sampling speed on this machine's devices, beside decoding without a cache in the same run.

    python -m benchmarks.sample --shape=tiny
    python -m benchmarks.sample --shape=1.3b --rows=32 --prompt=512 --new=128

Prints generated tokens/s end to end, prompts read included, of the sampler and of a loop that runs
the full forward for every token; parameters are random, so no answer ends early.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.shapes import SHAPES
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import Parameters, init_parameters
from ocijax.program import run
from ocijax.sample.decoding import Request, decode, prefill
from ocijax.sharding import MeshConfig, make_mesh

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
ROWS = flags.DEFINE_integer("rows", 32, "Prompts answered at once.")
PROMPT = flags.DEFINE_integer("prompt", 128, "Tokens of a prompt.")
NEW = flags.DEFINE_integer("new", 64, "Tokens generated for each.")


def cached(model: ModelConfig, compute: ComputeConfig, parameters: Parameters, tokens) -> None:
    """Answers every prompt by prefill and decode."""
    rows = len(tokens)
    request = Request(
        keys=jax.random.split(jax.random.key(0), rows),
        limits=jnp.full(rows, NEW.value, jnp.int32),
        stop_ids=jnp.full(1, -1, jnp.int32),
        temperature=jnp.float32(0),
        top_p=jnp.float32(1),
    )
    static = {
        "config": model,
        "compute": compute,
        "mesh": make_mesh(MeshConfig(), jax.local_devices()[:1]),
    }
    lengths = jnp.full(rows, PROMPT.value, jnp.int32)
    slots = PROMPT.value + NEW.value
    answers = prefill(parameters, tokens, lengths, request, slots=slots, **static)
    answers, generated = decode(parameters, answers, request, steps=NEW.value - 1, **static)
    generated.block_until_ready()


@partial(jax.jit, static_argnames=("model", "compute"), donate_argnames="tokens")
def append_token(
    parameters: Parameters,
    tokens: jax.Array,
    last: jax.Array,
    *,
    model: ModelConfig,
    compute: ComputeConfig,
) -> jax.Array:
    """Tokens ``[rows, length]`` with the greedy one after column ``last``, by a full forward."""
    decoder = Decoder(model, compute, parameters)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden = decoder(tokens, positions, (positions <= last).astype(jnp.int32))
    chosen = jnp.argmax(decoder.logits(hidden[:, last]), -1).astype(jnp.int32)
    return tokens.at[:, last + 1].set(chosen)


def uncached(model: ModelConfig, compute: ComputeConfig, parameters: Parameters, tokens) -> None:
    """Answers every prompt by a full forward for each token."""
    tokens = jnp.pad(tokens, ((0, 0), (0, NEW.value)))
    for column in range(PROMPT.value - 1, PROMPT.value + NEW.value - 1):
        tokens = append_token(parameters, tokens, column, model=model, compute=compute)
    tokens.block_until_ready()


def main() -> None:
    """Times both, each after one run that compiles."""
    model = SHAPES[SHAPE.value]
    device = jax.devices()[0]
    compute = ComputeConfig("float32" if device.platform == "cpu" else "bfloat16", remat="none")
    parameters = jax.jit(lambda key: init_parameters(model, key, compute.dtype))(jax.random.key(0))
    random = np.random.default_rng(0)
    shape = (ROWS.value, PROMPT.value)
    tokens = jnp.asarray(random.integers(0, model.vocab_size, shape), jnp.int32)
    print(f"{device.device_kind}, shape {SHAPE.value}, {compute.dtype}, ", end="")
    print(f"{ROWS.value} prompts of {PROMPT.value} tokens, {NEW.value} new ones each")
    print(f"{'':24}{'tokens/s':>12}{'ratio':>8}")
    speeds = {}
    for name, answer in (("full forward a token", uncached), ("ocijax", cached)):
        answer(model, compute, parameters, tokens)
        start = time.perf_counter()
        answer(model, compute, parameters, tokens)
        speeds[name] = ROWS.value * NEW.value / (time.perf_counter() - start)
        ratio = speeds[name] / speeds["full forward a token"]
        print(f"{name:24}{speeds[name]:12,.0f}{ratio:8.1f}")


if __name__ == "__main__":
    run(main)
