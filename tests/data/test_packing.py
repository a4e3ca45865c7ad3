import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.conversation import Conversation, Message
from ocijax.data.example import Example
from ocijax.data.packing import empty_row, pack, pack_conversations
from ocijax.template import get_template
from ocijax.tokenizer import load_tokenizer

LENGTH = 16


def example(size: int, first: int) -> Example:
    """An example whose tokens and weights tell it from all others."""
    tokens = np.arange(first, first + size, dtype=np.int32)
    weights = np.where(np.arange(size) == 0, 0, tokens).astype(np.float32)
    return Example(tokens, weights)


def numbered(sizes: list[int]) -> list[Example]:
    starts = np.cumsum([1, *sizes])
    return [example(size, int(start)) for size, start in zip(sizes, starts, strict=False)]


def unpack(row) -> list[Example]:
    ids = range(1, row["segment_ids"].max() + 1)
    masks = [row["segment_ids"] == segment for segment in ids]
    return [Example(row["tokens"][mask], row["loss_weights"][mask]) for mask in masks]


SIZES = st.lists(st.integers(1, LENGTH), max_size=40)


@given(SIZES, st.integers(1, 8), st.none() | st.integers(1, 3))
def test_every_example_comes_out_once_and_whole(sizes, open_rows, max_segments):
    examples = numbered(sizes)
    rows = list(pack(examples, LENGTH, open_rows=open_rows, max_segments=max_segments))
    unpacked = [example for row in rows for example in unpack(row)]
    unpacked.sort(key=lambda example: example.tokens[0])
    assert len(unpacked) == len(examples)
    for found, expected in zip(unpacked, examples, strict=True):
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_array_equal(found.loss_weights, expected.loss_weights)


@given(SIZES, st.none() | st.integers(1, 3))
def test_segments_are_numbered_contiguous_and_followed_by_nothing_else(sizes, max_segments):
    for row in pack(numbered(sizes), LENGTH, max_segments=max_segments):
        steps = np.diff(row["segment_ids"][row["segment_ids"] > 0])
        assert row["segment_ids"][0] == 1
        assert set(steps) <= {0, 1}
        used = np.count_nonzero(row["segment_ids"])
        assert not row["segment_ids"][used:].any()
        assert not row["tokens"][used:].any()
        assert not row["loss_weights"][used:].any()
        assert max_segments is None or row["segment_ids"].max() <= max_segments


@given(SIZES)
def test_positions_restart_in_each_segment(sizes):
    for row in pack(numbered(sizes), LENGTH):
        for segment in range(1, row["segment_ids"].max() + 1):
            positions = row["positions"][row["segment_ids"] == segment]
            assert positions.tolist() == list(range(len(positions)))


def test_the_first_token_of_a_segment_is_never_a_target():
    loud = Example(np.array([1, 2], np.int32), np.ones(2, np.float32))
    (row,) = pack([loud, loud], 4)
    assert row["loss_weights"].tolist() == [0, 1, 0, 1]


def test_a_row_is_four_arrays_of_its_length():
    (row,) = pack([example(3, 1)], LENGTH)
    kinds = {name: (array.dtype, array.shape) for name, array in row.items()}
    assert kinds == {
        "tokens": (np.int32, (LENGTH,)),
        "positions": (np.int32, (LENGTH,)),
        "segment_ids": (np.int32, (LENGTH,)),
        "loss_weights": (np.float32, (LENGTH,)),
    }
    assert {name: array.dtype for name, array in empty_row(4).items()} == {
        name: array.dtype for name, array in row.items()
    }


def test_places_are_filled_well():
    sizes = np.random.default_rng(0).lognormal(5.6, 0.7, 4000).astype(int).clip(1, 2048)
    rows = list(pack(numbered(sizes.tolist()), 2048))
    assert sizes.sum() / (len(rows) * 2048) > 0.98


def test_an_example_longer_than_a_row_is_an_error():
    with pytest.raises(ValueError, match="17 tokens does not fit a row of 16"):
        list(pack([example(17, 1)], LENGTH))


def test_conversations_are_mixed_by_the_seed_alone(tiny_tokenizer_file):
    tokenizer = load_tokenizer(tiny_tokenizer_file)
    conversations = [
        Conversation(str(i), (Message("user", f"u{i}"), Message("assistant", f"a{i}")))
        for i in range(30)
    ]

    def tokens(seed):
        rows, counts = pack_conversations(
            conversations, get_template("llama-2"), tokenizer, length=64, seed=seed
        )
        assert counts.examples == 30
        return [row["tokens"].tolist() for row in rows]

    assert tokens(0) == tokens(0)
    assert tokens(0) != tokens(1)
