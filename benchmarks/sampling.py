"""What the benchmarks of sampling share: a random model over characters, and its speeds alone."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ocijax.conversation import Conversation, Message
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import Decoder
from ocijax.model.parameters import Parameters, init_parameters
from ocijax.sample import decoding
from ocijax.sample.engine import CHUNK_ROWS, Engine
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMES = 3
"""Runs, after one that compiles; the shortest counts."""

_FIRST_CHARACTER = 0x10000
"""Of the first token: no template has characters from there on."""


class Characters:
    """A tokenizer of single characters; the last two of the vocabulary are special.

    It takes next to no time: what other libraries are timed beside is given tokens, not text.
    """

    name, text_prefix = "characters", ""

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size
        self.end = vocab_size - 1

    def encode(self, text: str) -> list[int]:
        """See `ocijax.tokenizer.Tokenizer`; characters that are no token are passed over."""
        ids = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64) - _FIRST_CHARACTER
        return ids[(ids >= 0) & (ids < self.vocab_size)].tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """See `ocijax.tokenizer.Tokenizer`."""
        return (np.array(ids, np.uint32) + _FIRST_CHARACTER).tobytes().decode("utf-32-le")

    def special_id(self, token: str) -> int | None:
        """See `ocijax.tokenizer.Tokenizer`."""
        return {"<s>": self.end - 1, "</s>": self.end}.get(token)


def compute_dtype() -> str:
    """What this machine's devices compute in."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def random_parameters(model: ModelConfig, dtype: str) -> Parameters:
    """In the compute dtype; the end of a turn is never the likeliest token."""

    def make(key: jax.Array) -> Parameters:
        parameters = init_parameters(model, key, dtype)
        head = parameters["head"]
        return parameters | {"head": head.at[:, -1].set(0)}

    return jax.jit(make)(jax.random.key(0))


def conversations(model: ModelConfig, lengths: Sequence[int], seed: int) -> list[Conversation]:
    """One for each length of a prompt in tokens, none like another.

    They are meant for `Characters` and the template ``llama-2``, of which there is one token.
    """
    random, tokenizer = np.random.default_rng(seed), Characters(model.vocab_size)
    prompts = [random.integers(0, model.vocab_size - 2, length - 1) for length in lengths]
    return [
        Conversation(str(index), (Message("user", tokenizer.decode(prompt)),))
        for index, prompt in enumerate(prompts)
    ]


def forced_choice(answers: np.ndarray) -> Callable:
    """The choice of tokens, but that a row gives those recorded for its seed.

    Args:
      answers: ``[seeds, longest]`` int32.
    """
    choose, last = decoding._choose, answers.shape[1] - 1

    def forced(
        decoder: Decoder, hidden: jax.Array, rows: decoding.Rows
    ) -> tuple[jax.Array, jax.Array]:
        chosen, scores = choose(decoder, hidden, rows)
        counts = rows.counts[:, None] + jnp.arange(chosen.shape[1])
        said = jnp.asarray(answers)[rows.seeds[:, None], jnp.minimum(counts, last)]
        # No choice is negative, which the compiler cannot know: it leaves nothing out.
        return jnp.where(chosen < 0, chosen, said), scores

    return forced


def together(count: int, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of ``work``, done by ``count`` threads, in order."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, items))


def answer_seconds(
    sampler: Sampler, model: ModelConfig, lengths: Sequence[int], settings: SamplingSettings
) -> float:
    """To answer conversations of such lengths together; no answer may end early."""
    times = []
    for number in range(TIMES + 1):
        asked = conversations(model, lengths, seed=1000 * settings.max_new_tokens + number)
        start = time.perf_counter()
        completions = sampler.generate(asked, settings)
        times.append(time.perf_counter() - start)
        if any(len(one.tokens) != settings.max_new_tokens for one in completions):
            raise RuntimeError("an answer ended early")
    return min(times[1:])


def prefill_seconds(engine: Engine, rows: int, length: int) -> float:
    """To read as many prompts of ``length`` tokens, and nothing else."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 100, length, np.int32)
    engine.make_room(length)

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
