"""What the second round of a refinement costs, with and without what is held of the first.

    python -m benchmarks.two_rounds --shape=1.3b --data=debugbench \
        --tokenizer=deepseek-coder.tokenizer.json

``--data`` is a folder with DebugBench's Python files (python3_*.json). A conversation's first
answer is the program with the bug, and with its prompt, which other problems fill up, it is
``--history`` tokens; then come feedback and the repaired program. Parameters are random: the model
computes and chooses as ever, but recorded tokens are put in the place of those that it chose.

- Tokens read in round 2, beside those of the new turns, what the template has between turns
  included. Conversations go through both rounds as in `ocijax.refine.loop`, as many at once as
  there are slots, each with a pause while its program would run.
- Time to the first token of a second turn, one conversation at a time, with nothing else to do: of
  one that is held, and of one that is not; medians.
- Time of round 2 where as many conversations as there are slots have it side by side: held and with
  tokens looked up (``--draft_tokens``), and neither.

The exit status is 1 where a bar is missed.
"""

import gc
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
from absl import flags

from benchmarks.debugbench import read_repairs
from benchmarks.sampling import compute_dtype, forced_choice, random_parameters, together
from benchmarks.shapes import SHAPES
from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig
from ocijax.program import run
from ocijax.sample import decoding
from ocijax.sample.engine import Chunk, Engine
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import DEEPSEEK_CODER, tokenize
from ocijax.tokenizer import Tokenizer, load_tokenizer

DATA = flags.DEFINE_string("data", None, "Folder of DebugBench's files.", required=True)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "Tokenizer file.", required=True)
SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
CONVERSATIONS = flags.DEFINE_integer("conversations", 164, "How many.", lower_bound=1)
HISTORY = flags.DEFINE_integer("history", 1500, "Tokens before the feedback.", lower_bound=64)
FEEDBACK = flags.DEFINE_integer("feedback", 100, "Its tokens.", lower_bound=1)
SLOTS = flags.DEFINE_integer("slots", 32, "Most answered at once.", lower_bound=1)
DRAFT_TOKENS = flags.DEFINE_integer("draft_tokens", 7, "Looked up a forward.", lower_bound=1)
PROGRAM_SECONDS = flags.DEFINE_float("program_seconds", 0.1, "What running a program takes.", 0.0)

MOST_OF_FIRST_TOKEN = 0.25
"""Of the time to the first token of a conversation that is not held."""
MOST_OF_ROUND = 0.5
"""Of the time of round 2 without anything held or looked up."""
_FIRST_TOKENS = 7


class Recorded(NamedTuple):
    """A conversation of two rounds.

    Attributes:
      first: what is asked first.
      second: what is asked then.
      tokens: of both answers, with their end-of-turn tokens.
    """

    first: Conversation
    second: Conversation
    tokens: tuple[list[int], list[int]]

    def named(self, name: str) -> "Recorded":
        """The same from other first words on: nothing held of this one is of use to it."""

        def renamed(conversation: Conversation) -> Conversation:
            system, *others = conversation.messages
            told = Message("system", f"{name} {system.content}")
            return replace(conversation, messages=(told, *others))

        return self._replace(first=renamed(self.first), second=renamed(self.second))


def record(repairs: Sequence[Conversation], tokenizer: Tokenizer, count: int) -> list[Recorded]:
    """Conversations that begin with a number, so that none begins as another does.

    Raises:
      InputError: so many repairs do not fit.
    """
    texts = [repair.messages[0].content for repair in repairs]

    def one(index: int) -> Recorded | None:
        asked, answer, _, fix = repairs[index].messages
        # What other problems say, which this conversation does not.
        other = tokenizer.encode("\n".join((texts[index + 1 :] + texts[:index])[:20]))
        feedback = Message(
            "user", f"Execution result:\n{tokenizer.decode(other[-FEEDBACK.value :])}"
        )

        def whole(filled: int) -> Conversation:
            system = Message("system", f"{index}: {tokenizer.decode(other[:filled])}\n")
            return Conversation(str(index), (system, asked, answer, feedback, fix))

        told = tokenize(whole(0), DEEPSEEK_CODER, tokenizer)
        missing = HISTORY.value - int((told.messages < 3).sum())
        if not 0 <= missing <= len(other):
            return None
        conversation = whole(missing)
        told = tokenize(conversation, DEEPSEEK_CODER, tokenizer)
        first, second = (
            told.tokens[told.completion & (told.messages == place)].tolist() for place in (2, 4)
        )
        messages = conversation.messages
        return Recorded(
            replace(conversation, messages=messages[:2]),
            replace(conversation, messages=messages[:4]),
            (first, second),
        )

    fitting = (recorded for index in range(len(repairs)) if (recorded := one(index)))
    found = list(islice(fitting, count))
    if len(found) < count:
        raise InputError(
            f"--conversations={count}: of --data={DATA.value} only {len(found)} are short enough "
            f"for --history={HISTORY.value}"
        )
    return found


def count_reads(engine: Engine, end_of_turn: int) -> Counter[int]:
    """Counts the tokens of prompts that are read from now on, by the answers before them."""
    reads: Counter[int] = Counter()
    prefill = engine.prefill

    def counted(prompts: Mapping[int, tuple[np.ndarray, Chunk]]) -> jax.Array:
        for prompt, chunk in prompts.values():
            end = min(chunk.start + chunk.length, len(prompt) - 1)
            reads[int((prompt == end_of_turn).sum())] += end - chunk.start
        return prefill(prompts)

    engine.prefill = counted
    return reads


class Rounds:
    """Answers recorded conversations with what was recorded.

    Args:
      sampler: whose choices are forced.
      tokenizer: its own.
      longest: of the answers, in tokens.
    """

    def __init__(self, sampler: Sampler, tokenizer: Tokenizer, longest: int):
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._longest = longest

    def first(self, numbered: tuple[int, Recorded]) -> None:
        """The first round of a conversation."""
        number, one = numbered
        self._ask(one.first, one.tokens[0], seed=2 * number)

    def second(self, numbered: tuple[int, Recorded]) -> None:
        """The second, whether or not the first is held."""
        number, one = numbered
        self._ask(one.second, one.tokens[1], seed=2 * number + 1)

    def both(self, numbered: tuple[int, Recorded]) -> None:
        """One after the other, and a pause between them."""
        self.first(numbered)
        time.sleep(PROGRAM_SECONDS.value)
        self.second(numbered)
        one = numbered[1]
        said = self._tokenizer.decode(one.tokens[1])
        self._sampler.forget(one.second.append("assistant", said))

    def first_token_seconds(self, numbered: tuple[int, Recorded], held: bool) -> float:
        """Of the second turn, after the first where ``held``."""
        number, one = numbered
        if held:
            self.first(numbered)
        start = time.perf_counter()
        self._sampler.generate([one.second], SamplingSettings(1, seed=2 * number + 1))
        return time.perf_counter() - start

    def second_seconds(self, numbered: Sequence[tuple[int, Recorded]], held: bool) -> float:
        """Of round 2, as many at once as there are slots; after the first where ``held``."""
        seconds, slots = 0.0, self._sampler.slots
        for begin in range(0, len(numbered), slots):
            wave = numbered[begin : begin + slots]
            if held:
                together(slots, self.first, wave)
            start = time.perf_counter()
            together(slots, self.second, wave)
            seconds += time.perf_counter() - start
        return seconds

    def _ask(self, conversation: Conversation, tokens: Sequence[int], seed: int) -> None:
        settings = SamplingSettings(self._longest, seed=seed)
        [completion] = self._sampler.generate([conversation], settings)
        if list(completion.tokens) != tokens:
            raise RuntimeError(
                f"conversation {conversation.id}: the answer is not the one recorded"
            )


def main() -> int:
    """Prints the table; returns the exit status."""
    tokenizer, dtype = load_tokenizer(TOKENIZER.value), compute_dtype()
    shape = SHAPES[SHAPE.value]
    model = replace(shape, vocab_size=max(shape.vocab_size, tokenizer.vocab_size))
    repairs = read_repairs(DATA.value)
    loop = list(enumerate(record(repairs, tokenizer, CONVERSATIONS.value)))
    # Each measurement has conversations of its own.
    held, fresh, timed = (
        [(number, one.named(name)) for number, one in some]
        for name, some in (
            ("held", loop[:_FIRST_TOKENS]),
            ("fresh", loop[:_FIRST_TOKENS]),
            ("timed", loop),
        )
    )
    longest = max(len(tokens) for _, one in loop for tokens in one.tokens)
    end_of_turn = DEEPSEEK_CODER.special_ids(tokenizer)[DEEPSEEK_CODER.end_of_turn]
    answers = np.full((2 * len(loop), longest), end_of_turn, np.int32)
    for number, one in loop:
        for round_number, tokens in enumerate(one.tokens):
            answers[2 * number + round_number, : len(tokens)] = tokens
    parameters = random_parameters(model, dtype)

    def rounds(draft_tokens: int) -> tuple[Sampler, Rounds]:
        sampler = Sampler(
            model,
            parameters,
            tokenizer,
            DEEPSEEK_CODER,
            compute=ComputeConfig(dtype),
            slots=SLOTS.value,
            context=HISTORY.value + 2 * FEEDBACK.value + 64 + longest,
            draft_tokens=draft_tokens,
        )
        sampler.compile_ahead()
        return sampler, Rounds(sampler, tokenizer, longest)

    with mock.patch.object(decoding, "_choose", forced_choice(answers)):
        sampler, with_it = rounds(DRAFT_TOKENS.value)
        print(f"{jax.local_devices()[0].device_kind}, shape {SHAPE.value}, {dtype}, ", end="")
        print(f"{sampler.slots} slots; {len(loop)} conversations, ", end="")
        print(
            f"repairs of {np.mean([len(one.tokens[1]) for _, one in loop]):.0f} tokens", flush=True
        )

        reads = count_reads(sampler.engine, end_of_turn)
        together(sampler.slots, with_it.both, loop)
        new = sum(
            sampler.prompt_tokens(one.second)
            - sampler.prompt_tokens(one.first)
            - len(one.tokens[0])
            for _, one in loop
        )
        read = reads[1]

        first_token = [
            statistics.median(with_it.first_token_seconds(one, held=some is held) for one in some)
            for some in (held, fresh)
        ]
        second = [with_it.second_seconds(timed, held=True)]
        del sampler, with_it
        gc.collect()
        _, without = rounds(draft_tokens=0)
        second.append(without.second_seconds(timed, held=False))

    print(f"{'round 2':22}{'reused':>10}{'not':>10}{'ratio':>8}{'bar':>6}")
    print(f"{'tokens read (of new)':22}{read:>10,}{new:>10,}{read / new:>8.2f}")
    missed = 0
    for name, (reused, afresh), unit, bar in (
        ("first token, ms", first_token, 1000, MOST_OF_FIRST_TOKEN),
        ("all, s", second, 1, MOST_OF_ROUND),
    ):
        ratio = reused / afresh
        print(f"{name:22}{unit * reused:>10.2f}{unit * afresh:>10.2f}{ratio:>8.2f}{bar:>6.2f}")
        missed |= ratio > bar
    return missed


if __name__ == "__main__":
    run(main)
