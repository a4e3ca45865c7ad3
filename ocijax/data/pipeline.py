"""The input pipeline: packed rows in, batches out, its state one integer.

    rows = PackedRows("data/packed")        # made by python -m datasets_build.pack
    rows, counts = pack_conversations(...)  # or packed on the fly, for quick runs: list(rows)
    batches = iter(train_batches(rows, batch_size=16, seed=0))
    batch = next(batches)
    state = batches.get_state()             # {"next_index": 1}: batches taken so far
    batches.set_state(state)                # goes on there, on any number of hosts

A batch is a dict of NumPy arrays ``[batch_size / host_count, length]`` with the fields that
`ocijax.data.packing` describes. Nothing here imports JAX or starts a process.
"""

from typing import Protocol

import grain

from ocijax.data.packing import Row, empty_row
from ocijax.errors import InputError

# Rows are large and few: a short read-ahead hides the disk.
_READ_AHEAD = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)

# Grain's endless length overflows once it is rounded up to whole batches.
_ENDLESS_EPOCHS = 2**31


class Rows(Protocol):
    """Rows by index: a list of them, or `ocijax.data.storage.PackedRows`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Row: ...


class _HostRows:
    """This host's share of each global batch: a contiguous part, in the global order.

    With a share for each host, the batch that they form together is the same, row by row, for
    any number of hosts. Beyond the last row come empty ones, up to a whole batch.
    """

    def __init__(self, rows: Rows, batch_size: int, host_index: int, host_count: int):
        if batch_size % host_count:
            raise InputError(
                f"a batch of {batch_size} rows cannot be split over {host_count} hosts"
            )
        self._rows = rows
        self._batch_size = batch_size
        self._share = batch_size // host_count
        self._first = host_index * self._share
        self._empty = empty_row(len(rows[0]["tokens"]))

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size) * self._share

    def __getitem__(self, index: int) -> Row:
        batch, place = divmod(index, self._share)
        position = batch * self._batch_size + self._first + place
        return self._rows[position] if position < len(self._rows) else self._empty


def train_batches(
    rows: Rows,
    *,
    batch_size: int,
    seed: int,
    epochs: int | None = None,
    host_index: int = 0,
    host_count: int = 1,
) -> grain.IterDataset:
    """Batches of all rows, shuffled anew in each epoch.

    The order depends on ``seed`` alone. A batch may hold the end of one epoch and the beginning
    of the next; rows that fill no last batch are left out.

    Args:
      rows: at least one.
      batch_size: rows of the global batch, of which each host gets its share.
      seed: of the shuffling.
      epochs: how often each row comes; ``None`` for no end.
      host_index: this host, from 0.
      host_count: number of hosts.

    Raises:
      InputError: the rows fill no batch, or the batch does not divide by the hosts.
    """
    epochs = _ENDLESS_EPOCHS if epochs is None else epochs
    if len(rows) * epochs < batch_size:
        raise InputError(f"{len(rows)} packed rows do not fill one batch of {batch_size}")
    dataset = grain.MapDataset.source(rows).seed(seed).shuffle().repeat(epochs)
    dataset = dataset[: len(dataset) // batch_size * batch_size]
    return _batches(dataset, batch_size, host_index, host_count)


def evaluation_batches(
    rows: Rows, *, batch_size: int, host_index: int = 0, host_count: int = 1
) -> grain.IterDataset:
    """Batches of all rows once, in order; the last one is filled up with empty rows.

    Raises:
      InputError: there are no rows, or the batch does not divide by the hosts.
    """
    if not len(rows):
        raise InputError("there are no packed rows to evaluate on")
    return _batches(rows, batch_size, host_index, host_count)


def _batches(rows: Rows, batch_size: int, host_index: int, host_count: int) -> grain.IterDataset:
    share = _HostRows(rows, batch_size, host_index, host_count)
    dataset = grain.MapDataset.source(share).batch(batch_size // host_count)
    return dataset.to_iter_dataset(_READ_AHEAD)
