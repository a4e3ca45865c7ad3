"""Sampling speed on this machine's devices, beside decoding without a cache in the same run.

    python -m benchmarks.sample --shape=tiny
    python -m benchmarks.sample --shape=1.3b --rows=32 --prompt=512 --new=128

Prints tokens/s of reading the prompts (prefill), of generating alone (decode) and of both together
in generated tokens, the latter beside a loop that runs the full forward for every token; parameters
are random, and no answer ends early.
"""

import time
from collections.abc import Callable
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
from ocijax.sample.decoding import Cache, Draws, Rows, decode, grow, prefill
from ocijax.sharding import MeshConfig, make_mesh

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
ROWS = flags.DEFINE_integer("rows", 32, "Prompts answered at once.", lower_bound=1)
PROMPT = flags.DEFINE_integer("prompt", 128, "Tokens of a prompt.", lower_bound=1)
NEW = flags.DEFINE_integer("new", 64, "Tokens generated for each.", lower_bound=1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
TOP_P = flags.DEFINE_float("top_p", 1.0, "Nucleus to draw from.", lower_bound=0.0, upper_bound=1.0)


class Cached:
    """Answers by `prefill` and `decode`."""

    def __init__(self, model: ModelConfig, compute: ComputeConfig, parameters: Parameters):
        self._mesh = make_mesh(MeshConfig(), jax.local_devices()[:1])
        static = {"config": model, "compute": compute, "mesh": self._mesh}
        self._prefill = partial(prefill, parameters, **static)
        self._decode = partial(decode, parameters, steps=NEW.value, **static)
        self._draws = Draws(np.uint32(0), np.float32(TEMPERATURE.value), np.float32(TOP_P.value))

    def read(self, tokens: jax.Array) -> Cache:
        """Prefills prompts ``[rows, length]``, with room for the answers."""
        slots = PROMPT.value + NEW.value - 1
        return grow(self._prefill(tokens), mesh=self._mesh, slots=slots)

    def answer(self, tokens: jax.Array, cache: Cache) -> jax.Array:
        """Decodes the answers ``[rows, new]`` to prompts that are read."""
        indices = np.arange(ROWS.value, dtype=np.int32)
        rows = Rows(
            tokens=tokens[:, -1],
            positions=np.full_like(indices, PROMPT.value - 1),
            counts=np.zeros_like(indices),
            limits=np.full_like(indices, NEW.value),
            indices=indices,
        )
        return self._decode(cache, rows, np.full(1, -1, np.int32), self._draws)[1]


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


def uncached(
    model: ModelConfig, compute: ComputeConfig, parameters: Parameters, tokens: jax.Array
) -> jax.Array:
    """Answers every prompt by a full forward for each token."""
    tokens = jnp.pad(tokens, ((0, 0), (0, NEW.value)))
    for column in range(PROMPT.value - 1, PROMPT.value + NEW.value - 1):
        tokens = append_token(parameters, tokens, column, model=model, compute=compute)
    return tokens


def seconds(function: Callable, make_arguments: Callable[[], tuple]) -> float:
    """The shortest of three runs, after one that compiles; arguments are made before each."""
    times = []
    for _ in range(4):
        arguments = jax.block_until_ready(make_arguments())
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Times everything and prints the table."""
    model = SHAPES[SHAPE.value]
    device = jax.local_devices()[0]
    dtype = "float32" if device.platform == "cpu" else "bfloat16"
    compute = ComputeConfig(dtype, scan_layers=False)
    parameters = jax.jit(lambda key: init_parameters(model, key, dtype))(jax.random.key(0))
    random = np.random.default_rng(0)
    shape = (ROWS.value, PROMPT.value)
    tokens = jnp.asarray(random.integers(0, model.vocab_size, shape), jnp.int32)
    cached = Cached(model, compute, parameters)

    naive = seconds(partial(uncached, model, compute, parameters), lambda: (tokens,))
    read = seconds(cached.read, lambda: (tokens,))
    going = seconds(cached.answer, lambda: (tokens, cached.read(tokens)))
    new = ROWS.value * NEW.value
    print(f"{device.device_kind}, shape {SHAPE.value}, {dtype}, ", end="")
    print(f"{ROWS.value} prompts of {PROMPT.value} tokens, {NEW.value} new ones each")
    print(f"{'':32}{'tokens/s':>12}{'ms a step':>12}{'ratio':>8}")
    for name, speed, step, ratio in (
        ("full forward for every token", new / naive, naive / NEW.value, 1.0),
        ("ocijax, prompts and answers", new / (read + going), None, naive / (read + going)),
        ("  prefill (prompt tokens)", ROWS.value * PROMPT.value / read, None, None),
        ("  decode", new / going, going / NEW.value, None),
    ):
        milliseconds = "" if step is None else f"{1e3 * step:.2f}"
        times = "" if ratio is None else f"{ratio:.1f}"
        print(f"{name:32}{speed:12,.0f}{milliseconds:>12}{times:>8}")


if __name__ == "__main__":
    run(main)
