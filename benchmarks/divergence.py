"""Where greedy answers differ with tokens looked up and without, and how near a tie it was there.

    python -m benchmarks.divergence --shape=1.3b
    python -m benchmarks.divergence --checkpoint=runs/first --conversations=conversations.jsonl

A forward of more rows rounds otherwise, so where two tokens are almost equally likely either may be
chosen, and from there on answers are different ones. Each first difference is printed with its gap:
how far the logit of the less likely of both tokens is below the greatest, in a full forward of what
stands before it, in float32, which a device's memory has to hold the model in as well. It is a
near-tie if rounding can have closed it: if the gap is no greater than the most by which a full
forward in bfloat16 moves the two greatest logits towards or away from each other, at any token of
these answers. The exit status is 1 where a gap is greater, or than ``--threshold``. Tokens are
looked up for every forward, worth it or not.

Without a checkpoint parameters and prompts are random; with one, the conversations' first turns are
asked.
"""

import gc
import statistics
from dataclasses import replace
from functools import partial
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.sampling import Characters, conversations, random_parameters
from benchmarks.shapes import SHAPES
from ocijax.conversation import Conversation, parse_conversation
from ocijax.errors import InputError
from ocijax.json_lines import read_rows
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import Parameters
from ocijax.program import run
from ocijax.sample import sampler as sampler_module
from ocijax.sample.pace import Pace
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2, tokenize
from ocijax.train.checkpoint import LoadedModel, load_model

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Checkpoint or Hugging Face folder instead.")
CONVERSATIONS = flags.DEFINE_string("conversations", "", "JSON lines; with --checkpoint.")
PROMPTS = flags.DEFINE_integer("prompts", 200, "How many are answered at most.", lower_bound=1)
PROMPT = flags.DEFINE_integer("prompt", 256, "Tokens of a random prompt.", lower_bound=2)
NEW = flags.DEFINE_integer("new", 256, "Most tokens of an answer.", lower_bound=2)
SLOTS = flags.DEFINE_integer("slots", 32, "Most answered at once.", lower_bound=1)
DRAFT_TOKENS = flags.DEFINE_integer("draft_tokens", 7, "Looked up a forward.", lower_bound=1)
THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Greatest gap of a near-tie; as far as rounding moves one if not given."
)

_DTYPE = "bfloat16"
_ROUNDED_UP = 128
"""Lengths of full forwards, so that few are compiled."""


class Always(Pace):
    """Looks tokens up for every forward."""

    def choose(self) -> int:
        """See `Pace.choose`."""
        return self._draft_tokens


def load() -> tuple[LoadedModel, list[Conversation]]:
    """The model in bfloat16, and what it is asked."""
    if not CHECKPOINT.value:
        model = SHAPES[SHAPE.value]
        parameters = random_parameters(model, _DTYPE)
        loaded = LoadedModel(model, parameters, Characters(model.vocab_size), LLAMA2)
        return loaded, conversations(model, [PROMPT.value] * PROMPTS.value, seed=0)
    if not CONVERSATIONS.value:
        raise InputError("--checkpoint: give --conversations=FILE with what to ask it")
    rows = read_rows(
        CONVERSATIONS.value, lambda row, number: parse_conversation(row, f"line {number}")
    )
    return load_model(CHECKPOINT.value, dtype=_DTYPE), list(map(opening, rows[: PROMPTS.value]))


def opening(conversation: Conversation) -> Conversation:
    """A conversation before its first answer."""
    messages = conversation.messages
    first = next(index for index, one in enumerate(messages) if one.role == "assistant")
    return replace(conversation, messages=messages[:first])


def answers(
    loaded: LoadedModel, asked: list[Conversation], draft_tokens: int
) -> list[tuple[int, ...]]:
    """The tokens of greedy answers."""
    sampler = Sampler(
        *loaded, compute=ComputeConfig(_DTYPE), slots=SLOTS.value, draft_tokens=draft_tokens
    )
    return [one.tokens for one in sampler.generate(asked, SamplingSettings(NEW.value))]


def first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """Index of the first token that is another one; the end of a turn is a token like others."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (here, there) in pairs if here != there), None)


@partial(jax.jit, static_argnames="model")
def full_forward(
    parameters: Parameters, tokens: jax.Array, length: int, *, model: ModelConfig
) -> jax.Array:
    """Logits ``[places, vocab]`` after each of the first ``length`` tokens, in fp32."""
    dtype = next(iter(parameters.values())).dtype.name
    decoder = Decoder(model, ComputeConfig(dtype, attention="masked"), parameters)
    places = jnp.arange(len(tokens))
    real = (places < length).astype(jnp.int32)
    return decoder.logits(decoder(tokens[None], places[None], real[None])[0])


@jax.jit
def gaps_of(logits: jax.Array, rounded: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far the two greatest logits ``[places, vocab]`` are apart, and how rounding moves it."""
    best, tokens = jax.lax.top_k(logits, 2)
    gaps, others = (
        pair[:, 0] - pair[:, 1] for pair in (best, jnp.take_along_axis(rounded, tokens, axis=1))
    )
    return gaps, jnp.abs(gaps - others)


def main() -> int:
    """Prints every difference and the rate; returns the exit status."""
    loaded, asked = load()
    plain = answers(loaded, asked, 0)
    with mock.patch.object(sampler_module, "Pace", Always):
        drafted = answers(loaded, asked, DRAFT_TOKENS.value)
    gc.collect()

    wide = {path: array.astype(jnp.float32) for path, array in loaded.parameters.items()}
    kind = jax.local_devices()[0].device_kind
    name = CHECKPOINT.value or f"shape {SHAPE.value}"
    print(f"{kind}, {name}, {_DTYPE}, {DRAFT_TOKENS.value} draft tokens; gaps in float32")
    print(f"{'prompt':>8}{'at token':>10}{'without':>10}{'with':>10}{'gap':>10}")
    elsewhere: list[float] = []
    moved: list[float] = []
    gaps: list[float] = []
    for conversation, one, other in zip(asked, plain, drafted, strict=True):
        differ = first_difference(one, other)
        prompt = tokenize(conversation, loaded.template, loaded.tokenizer).tokens
        same = one[:differ]
        length = len(prompt) + len(same)
        tokens = np.zeros(-(-length // _ROUNDED_UP) * _ROUNDED_UP, np.int32)
        tokens[:length] = [*prompt, *same]
        # On a GPU products in float32 would be of fewer bits otherwise.
        with jax.default_matmul_precision("highest"):
            logits = full_forward(wide, tokens, length, model=loaded.config)
        rounded = full_forward(loaded.parameters, tokens, length, model=loaded.config)
        between, moves = map(np.asarray, gaps_of(logits, rounded))
        elsewhere += between[len(prompt) - 1 : length - 1].tolist()
        moved += moves[len(prompt) - 1 : length].tolist()
        if differ is not None:
            pair = one[differ], other[differ]
            last = np.asarray(logits[length - 1])
            gaps.append(float(last.max() - last[list(pair)].min()))
            print(f"{conversation.id:>8}{differ:>10}{pair[0]:>10}{pair[1]:>10}{gaps[-1]:>10.4f}")
    print(f"{len(gaps)} of {len(asked)} answers differ, {len(gaps)} of ", end="")
    print(f"{len(elsewhere) + len(gaps):,} tokens")
    print(f"median gap {statistics.median(elsewhere):.4f} where they do not differ", end="")
    print(f", greatest {max(gaps):.4f} where they do" if gaps else "")
    print(f"rounding moves a gap by {statistics.median(moved):.4f}, at most {max(moved):.4f}")
    threshold = max(moved) if THRESHOLD.value is None else THRESHOLD.value
    return int(max(gaps, default=0) > threshold)


if __name__ == "__main__":
    run(main)
