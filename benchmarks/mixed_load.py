"""How full the sampler's slots are under requests of all lengths, and how near to ideal packing.

    python -m benchmarks.mixed_load --shape=tiny --requests=50 --slots=8
    python -m benchmarks.mixed_load --shape=1.3b --slots=32

All requests come at once, each from a thread of its own. Lengths of prompts and answers are
log-uniform between the bounds, so most are short, as those of HumanEval and MBPP are; every answer
gets its length. A slot is busy while its conversation is read or answered. That counts from when
all are for the first time, and as long as requests wait: behind that, slots can only empty.

Ideal packing takes the time that the same machine needs for as many tokens at the speeds measured
alone, in the same run with all slots busy: those of prompts at the speed of reading prompts of mean
length, and those of answers at the speed of answering where as much is filled as on average over
the tokens generated. The exit status is 1 where a bar is missed.
"""

import time

import jax
import numpy as np
from absl import flags

from benchmarks.occupancy import Watch, busy_shares
from benchmarks.sampling import (
    Characters,
    answer_seconds,
    compute_dtype,
    conversations,
    prefill_seconds,
    random_parameters,
    together,
)
from benchmarks.shapes import SHAPES
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.program import run
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
REQUESTS = flags.DEFINE_integer("requests", 500, "Conversations to answer.", lower_bound=1)
SLOTS = flags.DEFINE_integer("slots", 32, "Most answered at once.", lower_bound=1)
SHORTEST_PROMPT = flags.DEFINE_integer("shortest_prompt", 100, "Its tokens.", lower_bound=2)
LONGEST_PROMPT = flags.DEFINE_integer("longest_prompt", 3000, "Its tokens.", lower_bound=2)
SHORTEST_ANSWER = flags.DEFINE_integer("shortest_answer", 20, "Its tokens.", lower_bound=2)
LONGEST_ANSWER = flags.DEFINE_integer("longest_answer", 1024, "Its tokens.", lower_bound=2)

LEAST_BUSY = 0.8
"""Of the slots, that are to be busy in every second in which requests wait."""
MOST_TIMES_IDEAL = 1.3
"""The time that all may take."""
_TIMED_TOKENS = 64


def log_uniform(random: np.random.Generator, low: int, high: int, count: int) -> list[int]:
    """Whole numbers from ``low`` to ``high``."""
    drawn = np.exp(random.uniform(np.log(low), np.log(high + 1), count))
    return np.clip(drawn.astype(int), low, high).tolist()


def speeds_alone(
    sampler: Sampler, model: ModelConfig, prompt: int, filled: int
) -> tuple[float, float]:
    """Tokens a second with all slots busy: of reading, and of answering where as much is filled.

    Args:
      sampler: has answered nothing yet.
      model: its shape.
      prompt: tokens of a prompt to read.
      filled: tokens that a slot holds in the middle of the answer.
    """
    slots = sampler.slots
    read = prefill_seconds(sampler.engine, slots, prompt)
    lengths = [max(2, filled - _TIMED_TOKENS // 2)] * slots
    whole, first = (
        answer_seconds(sampler, model, lengths, SamplingSettings(new)) for new in (_TIMED_TOKENS, 1)
    )
    return slots * (prompt - 1) / read, slots * (_TIMED_TOKENS - 1) / (whole - first)


def main() -> int:
    """Prints the table; returns the exit status."""
    model, dtype = SHAPES[SHAPE.value], compute_dtype()
    random = np.random.default_rng(0)
    prompts, answers = (
        log_uniform(random, low.value, high.value, REQUESTS.value)
        for low, high in ((SHORTEST_PROMPT, LONGEST_PROMPT), (SHORTEST_ANSWER, LONGEST_ANSWER))
    )
    watches: list[Watch] = []
    sampler = Sampler(
        model,
        random_parameters(model, dtype),
        Characters(model.vocab_size),
        LLAMA2,
        compute=ComputeConfig(dtype),
        slots=SLOTS.value,
        context=LONGEST_PROMPT.value + max(LONGEST_ANSWER.value, _TIMED_TOKENS),
        observe=lambda finished: [watch.finish(finished) for watch in watches],
    )
    slots = sampler.slots
    if REQUESTS.value <= slots:
        raise InputError(f"--requests={REQUESTS.value}: give more than {slots}, so that some wait")
    print(f"{jax.local_devices()[0].device_kind}, shape {SHAPE.value}, {dtype}, {slots} slots")
    print(
        f"{REQUESTS.value} requests, {sum(prompts):,} tokens of prompts, {sum(answers):,} of",
        end="",
    )
    print(" answers", flush=True)

    start = time.perf_counter()
    sampler.compile_ahead()
    programs = sampler.programs
    print(f"{programs} programs compiled ahead in {time.perf_counter() - start:.1f} s", flush=True)

    counts = np.array(answers)
    filled = int((counts * (np.array(prompts) + counts / 2)).sum() / counts.sum())
    prefill, decode = speeds_alone(sampler, model, int(np.mean(prompts)), filled)
    print(f"alone: prompts {prefill:,.0f} tokens/s, answers {decode:,.0f} tokens/s", end="")
    print(f" with {filled:,} filled", flush=True)

    asked = conversations(model, prompts, seed=1)
    requests = [
        (conversation, SamplingSettings(new))
        for conversation, new in zip(asked, answers, strict=True)
    ]
    watch = Watch(sampler, len(requests))
    watches.append(watch)
    read, generated = sampler.prefilled_tokens, sampler.generated_tokens
    start = time.perf_counter()
    with watch:
        together(len(requests), lambda one: sampler.generate([one[0]], one[1]), requests)
    seconds = time.perf_counter() - start
    read, generated = sampler.prefilled_tokens - read, sampler.generated_tokens - generated
    if generated != sum(answers):
        raise RuntimeError(f"{generated} tokens were generated, not {sum(answers)}")
    if sampler.programs != programs:
        raise RuntimeError(f"{sampler.programs - programs} programs were compiled while answering")

    ideal = read / prefill + generated / decode
    mean, least = busy_shares(watch.looks, slots)
    print(f"{'':16}{'measured':>10}{'bar':>10}")
    print(f"{'slots busy':16}{mean:>10.1%}")
    print(f"{'least a second':16}{least:>10.1%}{LEAST_BUSY:>10.0%}")
    print(f"{'seconds':16}{seconds:>10.1f}")
    print(f"{'tokens/s':16}{generated / seconds:>10,.0f}")
    print(f"{'times the ideal':16}{seconds / ideal:>10.2f}{MOST_TIMES_IDEAL:>10.2f}")
    return int(least < LEAST_BUSY or seconds > MOST_TIMES_IDEAL * ideal)


if __name__ == "__main__":
    run(main)
