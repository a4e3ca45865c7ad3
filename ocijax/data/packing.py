"""Packing: several examples side by side in a row of fixed length, kept apart by segment ids.

A row is a dict of arrays ``[length]``, a batch the same with ``[rows, length]``:

- ``tokens`` int32; 0 where nothing is.
- ``positions`` int32; 0, 1, … restarting in each segment.
- ``segment_ids`` int32; 1, 2, … for the examples, 0 where nothing is.
- ``loss_weights`` float32; element i weighs the loss of predicting token i, so that of the first
  token of each segment is 0.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ocijax.conversation import Conversation
from ocijax.data.example import Counts, Example, make_examples
from ocijax.template import Template
from ocijax.tokenizer import Tokenizer

Row = dict[str, np.ndarray]


@dataclass
class _OpenRow:
    free: int
    examples: list[Example] = field(default_factory=list)


def pack(
    examples: Iterable[Example],
    length: int,
    *,
    open_rows: int = 64,
    max_segments: int | None = None,
) -> Iterator[Row]:
    """Packs examples into rows, none cut, none lost.

    Best fit: each goes where the least room is left over; where it fits nowhere, the fullest row
    is finished. 64 open rows fill about 99 % of the places with examples of usual lengths.

    Args:
      examples: each of at most ``length`` tokens.
      length: tokens of a row.
      open_rows: rows that wait for examples at any time.
      max_segments: most examples in a row, where an attention kernel has such a limit.

    Raises:
      ValueError: an example is longer than a row.
    """
    rows: list[_OpenRow] = []
    for example in examples:
        size = len(example.tokens)
        if size > length:
            raise ValueError(f"an example of {size} tokens does not fit a row of {length}")
        fitting = [row for row in rows if row.free >= size]
        if fitting:
            row = min(fitting, key=lambda row: row.free)
        else:
            if len(rows) == open_rows:
                fullest = min(rows, key=lambda row: row.free)
                rows.remove(fullest)
                yield _finish(fullest, length)
            row = _OpenRow(length)
            rows.append(row)
        row.examples.append(example)
        row.free -= size
        if row.free == 0 or len(row.examples) == max_segments:
            rows.remove(row)
            yield _finish(row, length)
    for row in rows:
        yield _finish(row, length)


def pack_conversations(
    conversations: Iterable[Conversation],
    template: Template,
    tokenizer: Tokenizer,
    *,
    length: int,
    policy: str = "all",
    seed: int = 0,
    max_segments: int | None = None,
) -> tuple[Iterator[Row], Counts]:
    """Rows of all conversations, and what was dropped.

    The conversations are shuffled first, so that a row mixes them whatever their order.

    Args:
      conversations: see `ocijax.data.example.make_example`, as for ``policy``.
      template: how they are rendered.
      tokenizer: one that has the template's special tokens.
      length: tokens of a row, and most tokens of a conversation.
      policy: one of `ocijax.data.weights.POLICIES`.
      seed: of the shuffling.
      max_segments: most conversations in a row; ``None`` for no limit.

    Raises:
      InputError: the tokenizer lacks special tokens, or the metadata what the policy needs.
    """
    examples, counts = make_examples(
        conversations, template, tokenizer, length=length, policy=policy
    )
    order = np.random.default_rng(seed).permutation(len(examples))
    rows = pack((examples[index] for index in order), length, max_segments=max_segments)
    return rows, counts


def empty_row(length: int) -> Row:
    """A row without examples: it changes no loss."""
    return {
        "tokens": np.zeros(length, np.int32),
        "positions": np.zeros(length, np.int32),
        "segment_ids": np.zeros(length, np.int32),
        "loss_weights": np.zeros(length, np.float32),
    }


def _finish(open_row: _OpenRow, length: int) -> Row:
    row, start = empty_row(length), 0
    for segment, example in enumerate(open_row.examples, start=1):
        size = len(example.tokens)
        place = slice(start, start + size)
        row["tokens"][place] = example.tokens
        row["positions"][place] = np.arange(size)
        row["segment_ids"][place] = segment
        row["loss_weights"][place] = example.loss_weights
        row["loss_weights"][start] = 0
        start += size
    return row
