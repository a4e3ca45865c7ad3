"""How many tokens a forward yields where a program is repaired, by prompt lookup.

    python -m benchmarks.lookup --data=debugbench --tokenizer=deepseek-coder.tokenizer.json

``--data`` is a folder with DebugBench's Python files (python3_*.json), whose rows have a program
with a bug and the program without it. The first is what the assistant said; the answer to the
feedback on it is forced to be the second, and drafts come as in `ocijax.sample.lookup`. No model
runs: what a draft is worth depends on the texts alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.debugbench import read_repairs
from ocijax.program import run
from ocijax.sample.lookup import look_up
from ocijax.template import DEEPSEEK_CODER, tokenize
from ocijax.tokenizer import load_tokenizer

DATA = flags.DEFINE_string("data", None, "Folder of DebugBench's files.", required=True)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "Tokenizer file.", required=True)
DRAFTS = flags.DEFINE_list(
    "draft_tokens", ["3", "5", "7", "10", "15"], "Tokens looked up a forward."
)

TOGETHER = 64
"""Conversations, of similar lengths."""


@partial(jax.jit, static_argnames="draft_tokens")
def forwards(
    tokens: jax.Array, first: jax.Array, ends: jax.Array, *, draft_tokens: int
) -> jax.Array:
    """Forwards that generate ``tokens[first:ends]`` of each row, ``[rows]`` int32."""

    def step(carry):
        positions, counts = carry
        going = positions + 1 < ends
        drafted = look_up(tokens, positions, draft_tokens)
        behind = positions[:, None] + 1 + jnp.arange(draft_tokens)
        said = jnp.take_along_axis(tokens, jnp.minimum(behind, tokens.shape[1] - 1), axis=1)
        right = jnp.cumprod((drafted == said) & (behind < ends[:, None]), axis=1).sum(axis=1)
        new = jnp.minimum(1 + right, ends - 1 - positions)
        return positions + jnp.where(going, new, 0), counts + going

    start = first - 1, jnp.zeros_like(first)
    return jax.lax.while_loop(lambda carry: (carry[0] + 1 < ends).any(), step, start)[1]


def main() -> None:
    """Prints a line for each number of draft tokens."""
    repairs = read_repairs(DATA.value)
    tokenizer = load_tokenizer(TOKENIZER.value)
    told = [tokenize(repair, DEEPSEEK_CODER, tokenizer) for repair in repairs]
    told.sort(key=lambda one: len(one.tokens))
    answers = sum(int((one.completion & (one.messages == 3)).sum()) for one in told)
    print(f"{len(told)} repairs of {answers / len(told):.0f} tokens on average")
    print(f"{'draft_tokens':>12}{'tokens a forward':>18}")
    for draft_tokens in map(int, DRAFTS.value):
        total = 0
        for begin in range(0, len(told), TOGETHER):
            some = told[begin : begin + TOGETHER]
            length = 1 << (max(len(one.tokens) for one in some) - 1).bit_length()
            tokens = np.zeros((TOGETHER, length), np.int32)
            first, ends = np.ones((2, TOGETHER), np.int32)
            for index, one in enumerate(some):
                tokens[index, : len(one.tokens)] = one.tokens
                places = np.flatnonzero(one.completion & (one.messages == 3))
                first[index], ends[index] = places[0], places[-1] + 1
            total += int(forwards(tokens, first, ends, draft_tokens=draft_tokens).sum())
        print(f"{draft_tokens:>12}{answers / total:>18.2f}", flush=True)


if __name__ == "__main__":
    run(main)
