"""Sampling speed on this machine's devices, beside Hugging Face transformers in the same run.

    python -m benchmarks.sample --shape=tiny
    python -m benchmarks.sample --shape=6.7b --rows=1,32,128 --prompt=512 --new=128

For each number of conversations, answered together and greedily by `ocijax.sample.sampler.Sampler`:
tokens/s of reading the prompts and its MFU (see `prefill_flops`); the time to the first token;
tokens/s of generating alone, and its share of the memory roofline (each step reads all weights and
what the cache holds); and of all together in generated tokens, beside transformers' ``generate``
where torch and transformers are installed. Parameters are random, and no answer ends early.
"""

import gc

import jax
import numpy as np
from absl import flags

from benchmarks.peer import peer_seconds
from benchmarks.sampling import (
    Characters,
    answer_seconds,
    compute_dtype,
    prefill_seconds,
    random_parameters,
)
from benchmarks.shapes import SHAPES
from ocijax.devices import bandwidth, peak_flops
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import JOINED, ComputeConfig
from ocijax.model.parameters import LAYERS, parameter_table
from ocijax.program import run
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


def prefill_flops(model: ModelConfig, rows: int) -> float:
    """Operations of reading the prompts, by the convention of `ocijax.train.flops`.

    Not counted are the head and, of the last layer, what follows attention: last tokens alone need
    them.
    """
    tokens, table = rows * PROMPT.value, parameter_table(model)
    after_attention = sum(
        spec.size / model.num_hidden_layers
        for path, spec in table.items()
        if spec.stacked and spec.inputs and path.removeprefix(LAYERS) not in JOINED[0]
    )
    forward = training_flops(model, tokens, tokens * PROMPT.value / 2) / 3
    return forward - 2 * tokens * (table["head"].size + after_attention)


def transformers_seconds(rows: int) -> float | None:
    """Of transformers' ``generate`` with the same shape, or ``None`` where it is not run."""
    if not PEER.value:
        return None
    arguments = [f"--{one.name}={one.value}" for one in (SHAPE, PROMPT, NEW)]
    return peer_seconds("benchmarks.transformers_sample", f"--rows={rows}", *arguments)


def report(model: ModelConfig, dtype: str, rows: int, theirs: float | None) -> None:
    """Times one number of conversations and prints its lines, ``theirs`` being the peer's time."""
    kind = jax.local_devices()[0].device_kind
    sampler = Sampler(
        model,
        random_parameters(model, dtype),
        Characters(model.vocab_size),
        LLAMA2,
        compute=ComputeConfig(dtype),
        slots=rows,
        context=PROMPT.value + NEW.value,
        int8_weights=INT8_WEIGHTS.value,
        int8_cache=INT8_CACHE.value,
    )
    read = prefill_seconds(sampler.engine, rows, PROMPT.value)
    whole, first = (
        answer_seconds(
            sampler, model, [PROMPT.value] * rows, SamplingSettings(new, TEMPERATURE.value)
        )
        for new in (NEW.value, 1)
    )
    step = (whole - first) / (NEW.value - 1)
    prompts = rows * PROMPT.value
    operations, peak = prefill_flops(model, rows), peak_flops(kind, dtype)
    least = roofline_seconds(model, dtype, rows, kind)

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
    dtype = compute_dtype()
    print(f"{jax.local_devices()[0].device_kind}, shape {SHAPE.value}, {dtype}, ", end="")
    print(f"prompts of {PROMPT.value} tokens, {NEW.value} new ones each")
    print(f"{'rows':>5}  {'':26}{'tokens/s':>12}")
    for rows, peer in theirs.items():
        report(model, dtype, rows, peer)
        gc.collect()


if __name__ == "__main__":
    run(main)
