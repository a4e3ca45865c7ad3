"""Sampling speed on this machine's devices, beside Hugging Face transformers in the same run.

    python -m benchmarks.sample --shape=tiny
    python -m benchmarks.sample --shape=6.7b --rows=1,32,128 --prompt=512 --new=128

For each number of conversations, answered together and greedily by `ocijax.sample.sampler.Sampler`:
tokens/s of reading the prompts and its MFU (see `ocijax.train.flops`); the time to the first token;
tokens/s of generating alone, and its share of the memory roofline (each step reads all weights and
what the cache holds); and of all together in generated tokens, beside transformers' ``generate``
where torch and transformers are installed. Parameters are random, and no answer ends early.
"""

import gc
import time

import jax
import numpy as np
from absl import flags

from benchmarks.peer import peer_seconds
from benchmarks.shapes import SHAPES
from ocijax.conversation import Conversation, Message
from ocijax.devices import bandwidth, peak_flops
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import Parameters, init_parameters, parameter_table
from ocijax.program import run
from ocijax.sample.engine import CHUNK_ROWS
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2
from ocijax.train.flops import training_flops

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
ROWS = flags.DEFINE_list("rows", ["1", "32"], "Conversations answered together.")
PROMPT = flags.DEFINE_integer("prompt", 128, "Tokens of a prompt.", lower_bound=16)
NEW = flags.DEFINE_integer("new", 64, "Tokens generated for each.", lower_bound=2)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
INT8_WEIGHTS = flags.DEFINE_bool("int8_weights", False, "Hold the layers' weights in eight bits.")
INT8_CACHE = flags.DEFINE_bool("int8_cache", False, "Hold keys and values in eight bits.")
PEER = flags.DEFINE_bool("peer", True, "Run the peer too.")

TIMES = 3
"""Runs, after one that compiles; the shortest counts."""


class Numbers:
    """A tokenizer of numbers with spaces between; the last two of the vocabulary are special."""

    name, text_prefix = "numbers", ""

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size
        self.end = vocab_size - 1

    def encode(self, text: str) -> list[int]:
        """See `ocijax.tokenizer.Tokenizer`."""
        return [int(word) for word in text.split() if word.isdigit()]

    def decode(self, ids: list[int]) -> str:
        """See `ocijax.tokenizer.Tokenizer`."""
        return " ".join(map(str, ids))

    def special_id(self, token: str) -> int | None:
        """See `ocijax.tokenizer.Tokenizer`."""
        return {"<s>": self.end - 1, "</s>": self.end}.get(token)


def random_parameters(model: ModelConfig, dtype: str) -> Parameters:
    """In the compute dtype; the end of a turn is never the likeliest token."""

    def make(key: jax.Array) -> Parameters:
        parameters = init_parameters(model, key, dtype)
        head = parameters["head"]
        return parameters | {"head": head.at[:, -1].set(0)}

    return jax.jit(make)(jax.random.key(0))


def conversations(model: ModelConfig, rows: int, seed: int) -> list[Conversation]:
    """As many, of so many tokens, none like another."""
    random = np.random.default_rng(seed)
    # Of the template, which spells no numbers, there is one token.
    tokens = random.integers(0, model.vocab_size - 2, (rows, PROMPT.value - 1))
    return [
        Conversation(str(index), (Message("user", " ".join(map(str, row))),))
        for index, row in enumerate(tokens)
    ]


def seconds(sampler: Sampler, model: ModelConfig, rows: int, new: int) -> float:
    """To answer ``rows`` conversations with ``new`` tokens each."""
    settings, times = SamplingSettings(new, TEMPERATURE.value), []
    for number in range(TIMES + 1):
        asked = conversations(model, rows, seed=1000 * new + number)
        start = time.perf_counter()
        completions = sampler.generate(asked, settings)
        times.append(time.perf_counter() - start)
        if any(len(one.tokens) != new for one in completions):
            raise RuntimeError("an answer ended early")
    return min(times[1:])


def prefill_seconds(sampler: Sampler, rows: int) -> float:
    """To read as many prompts, and nothing else."""
    engine, random = sampler.engine, np.random.default_rng(0)
    tokens = random.integers(0, 100, PROMPT.value - 1, np.int32)  # the answer reads the last one

    def read() -> None:
        for first in range(0, rows, CHUNK_ROWS):
            known = 0
            while known < len(tokens):
                chunk = engine.next_chunk(known, len(tokens))
                slots = range(first, min(first + CHUNK_ROWS, rows))
                engine.prefill(dict.fromkeys(slots, (tokens, chunk)))
                known = chunk.start + chunk.length
        engine.wait()

    times = []
    for _ in range(TIMES + 1):
        start = time.perf_counter()
        read()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def roofline_seconds(model: ModelConfig, dtype: str, rows: int, device_kind: str) -> float | None:
    """The least that a step can take, half the answer being there; ``None`` if not known."""
    speed = bandwidth(device_kind)
    # Of the embedding, a step reads one row for each conversation.
    table = {path: spec for path, spec in parameter_table(model).items() if path != "embedding"}
    size = np.dtype(dtype).itemsize
    weight_bytes = sum(
        spec.size * (1 if INT8_WEIGHTS.value and spec.stacked and spec.inputs else size)
        for spec in table.values()
    )
    width = model.num_hidden_layers * model.num_key_value_heads * model.head_dim
    held = 1 + 4 / model.head_dim if INT8_CACHE.value else size
    cached = 2 * width * rows * (PROMPT.value + NEW.value / 2) * held
    return (weight_bytes + cached) / speed if speed else None


def transformers_seconds(rows: int) -> float | None:
    """Of transformers' ``generate`` with the same shape, or ``None`` where it is not run."""
    if not PEER.value:
        return None
    arguments = [f"--{one.name}={one.value}" for one in (SHAPE, PROMPT, NEW)]
    return peer_seconds("benchmarks.transformers_sample", f"--rows={rows}", *arguments)


def report(
    model: ModelConfig, parameters: Parameters, dtype: str, rows: int, theirs: float | None
) -> None:
    """Times one number of conversations and prints its lines, ``theirs`` being the peer's time."""
    kind = jax.local_devices()[0].device_kind
    sampler = Sampler(
        model,
        parameters,
        Numbers(model.vocab_size),
        LLAMA2,
        compute=ComputeConfig(dtype),
        slots=rows,
        context=PROMPT.value + NEW.value,
        int8_weights=INT8_WEIGHTS.value,
        int8_cache=INT8_CACHE.value,
    )
    read = prefill_seconds(sampler, rows)
    whole, first = (seconds(sampler, model, rows, new) for new in (NEW.value, 1))
    step = (whole - first) / (NEW.value - 1)
    prompts = rows * PROMPT.value
    operations = training_flops(model, prompts, prompts * PROMPT.value / 2) / 3
    peak, least = peak_flops(kind, dtype), roofline_seconds(model, dtype, rows, kind)

    def percent(value: float | None, name: str) -> str:
        return f"{value:.1%} {name}" if value else ""

    lines = [
        ("reading the prompts", prompts / read, percent(peak and operations / read / peak, "MFU")),
        ("first tokens", rows / first, f"after {first * 1000:,.0f} ms"),
        ("each token after them", rows / step, percent(least and least / step, "of the roofline")),
        ("prompts and answers", rows * NEW.value / whole, ""),
        ("transformers", theirs and rows * NEW.value / theirs, theirs and f"{theirs / whole:.1f}x"),
    ]
    for name, speed, more in lines:
        told = f"{speed:12,.0f}" if speed else f"{'not run':>12}"
        print(f"{rows:>5}  {name:26}{told}  {more or ''}", flush=True)


def main() -> None:
    """Times everything and prints the table."""
    model = SHAPES[SHAPE.value]
    # Before JAX takes the device's memory.
    theirs = {rows: transformers_seconds(rows) for rows in map(int, ROWS.value)}
    device = jax.local_devices()[0]
    dtype = "float32" if device.platform == "cpu" else "bfloat16"
    print(f"{device.device_kind}, shape {SHAPE.value}, {dtype}, ", end="")
    print(f"prompts of {PROMPT.value} tokens, {NEW.value} new ones each")
    print(f"{'rows':>5}  {'':26}{'tokens/s':>12}")
    for rows, peer in theirs.items():
        report(model, random_parameters(model, dtype), dtype, rows, peer)
        gc.collect()


if __name__ == "__main__":
    run(main)
