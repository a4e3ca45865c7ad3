"""What looking tokens up costs where nothing is said twice.

    python -m benchmarks.no_repeats --shape=6.7b

Parameters are random: the model computes and chooses as ever, but in the place of what it chose are
put tokens of a sequence in which none comes again. The same conversations are answered with tokens
looked up (``--draft_tokens``) and without; the shortest times count. The exit status is 1 where
looking up takes more than 5 % longer.
"""

import gc
from unittest import mock

import jax
import numpy as np
from absl import flags

from benchmarks.sampling import (
    Characters,
    answer_seconds,
    compute_dtype,
    forced_choice,
    random_parameters,
)
from benchmarks.shapes import SHAPES
from ocijax.model.decoder import ComputeConfig
from ocijax.program import run
from ocijax.sample import decoding
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
ROWS = flags.DEFINE_list("rows", ["1", "32"], "Conversations answered together.")
PROMPT = flags.DEFINE_integer("prompt", 512, "Tokens of a prompt.", lower_bound=16)
NEW = flags.DEFINE_integer("new", 512, "Tokens generated for each.", lower_bound=2)
DRAFT_TOKENS = flags.DEFINE_integer("draft_tokens", 7, "Looked up a forward.", lower_bound=1)

MOST = 1.05
"""Of the time without."""


def main() -> int:
    """Prints a line for each number of conversations; returns the exit status."""
    model, dtype = SHAPES[SHAPE.value], compute_dtype()
    parameters = random_parameters(model, dtype)
    # Prompts are drawn from all numbers; of those said, some may come in a prompt, no two in turn.
    said = np.random.default_rng(7).permutation(model.vocab_size - 2)[: NEW.value]
    settings = SamplingSettings(NEW.value)
    print(f"{jax.local_devices()[0].device_kind}, shape {SHAPE.value}, {dtype}, ", end="")
    print(f"prompts of {PROMPT.value} tokens, {NEW.value} new ones each")
    print(f"{'rows':>5}{'looked up, s':>15}{'not, s':>10}{'ratio':>8}{'bar':>6}", flush=True)
    missed = 0
    with mock.patch.object(decoding, "_choose", forced_choice(said[None].astype(np.int32))):
        for rows in map(int, ROWS.value):
            seconds = []
            for draft_tokens in (DRAFT_TOKENS.value, 0):
                sampler = Sampler(
                    model,
                    parameters,
                    Characters(model.vocab_size),
                    LLAMA2,
                    compute=ComputeConfig(dtype),
                    slots=rows,
                    context=PROMPT.value + NEW.value,
                    draft_tokens=draft_tokens,
                )
                lengths = [PROMPT.value] * rows
                seconds.append(answer_seconds(sampler, model, lengths, settings))
                del sampler
                gc.collect()
            ratio = seconds[0] / seconds[1]
            print(
                f"{rows:5}{seconds[0]:15.3f}{seconds[1]:10.3f}{ratio:8.3f}{MOST:6.2f}", flush=True
            )
            missed |= ratio > MOST
    return missed


if __name__ == "__main__":
    run(main)
