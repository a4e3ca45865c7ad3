import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocijax.data.packing import empty_row
from ocijax.data.pipeline import evaluation_batches, train_batches
from ocijax.data.storage import PackedRows, write_metadata, write_rows
from ocijax.errors import InputError
from ocijax.new_folder import new_folder

LENGTH = 4


def numbered_rows(count: int) -> list:
    """Rows that differ in their tokens, from 1 on."""
    return [
        {**empty_row(LENGTH), "tokens": np.full(LENGTH, number, np.int32)}
        for number in range(1, count + 1)
    ]


def numbers(batch) -> list[int]:
    return batch["tokens"][:, 0].tolist()


def take(dataset, count: int, state=None) -> list[list[int]]:
    iterator = iter(dataset)
    if state is not None:
        iterator.set_state(state)
    return [numbers(next(iterator)) for _ in range(count)]


def flat(batches) -> list[int]:
    return [number for batch in batches for number in batch]


def test_a_batch_is_four_arrays_of_rows():
    batch = next(iter(train_batches(numbered_rows(8), batch_size=4, seed=0)))
    assert {name: (array.dtype, array.shape) for name, array in batch.items()} == {
        "tokens": (np.int32, (4, LENGTH)),
        "positions": (np.int32, (4, LENGTH)),
        "segment_ids": (np.int32, (4, LENGTH)),
        "loss_weights": (np.float32, (4, LENGTH)),
    }


def test_each_epoch_has_every_row_once_in_another_order():
    order = flat(take(train_batches(numbered_rows(12), batch_size=4, seed=0), 9))
    epochs = [order[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(epoch) == list(range(1, 13)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_run_on_across_epochs():
    order = flat(take(train_batches(numbered_rows(10), batch_size=4, seed=0), 5))
    assert sorted(order) == sorted([*range(1, 11), *range(1, 11)])


def test_a_number_of_epochs_ends_and_leaves_out_what_fills_no_batch():
    batches = list(train_batches(numbered_rows(5), batch_size=4, seed=0, epochs=3))
    assert [len(numbers(batch)) for batch in batches] == [4, 4, 4]


def test_the_order_depends_on_the_seed_alone():
    def order(seed):
        return take(train_batches(numbered_rows(16), batch_size=4, seed=seed), 8)

    assert order(0) == order(0)
    assert order(0) != order(1)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 30),
    st.integers(0, 9),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
)
def test_any_number_of_hosts_resumes_where_another_stopped(rows, step, before, after):
    def dataset(host, hosts):
        return train_batches(
            numbered_rows(rows), batch_size=4, seed=7, host_index=host, host_count=hosts
        )

    def run(hosts, count, state=None):
        parts = [take(dataset(host, hosts), count, state) for host in range(hosts)]
        return [flat(part[index] for part in parts) for index in range(count)]

    undisturbed = run(1, step + 3)
    assert run(before, step) == undisturbed[:step]
    stopped = iter(dataset(0, before))
    for _ in range(step):
        next(stopped)
    state = json.loads(json.dumps(stopped.get_state()))
    assert state == {"next_index": step}
    assert run(after, 3, state) == undisturbed[step:]


def test_evaluation_has_every_row_once_and_empty_rows_at_its_end():
    batches = list(evaluation_batches(numbered_rows(6), batch_size=4))
    assert [numbers(batch) for batch in batches] == [[1, 2, 3, 4], [5, 6, 0, 0]]
    assert not batches[1]["loss_weights"][2:].any()
    assert not batches[1]["segment_ids"][2:].any()


def test_evaluation_is_shared_among_hosts_in_whole_batches():
    parts = [
        list(evaluation_batches(numbered_rows(5), batch_size=4, host_index=host, host_count=2))
        for host in range(2)
    ]
    assert [[numbers(batch) for batch in part] for part in parts] == [
        [[1, 2], [5, 0]],
        [[3, 4], [0, 0]],
    ]


def test_packed_rows_on_disk_give_the_same_batches(tmp_path):
    rows = numbered_rows(9)
    with new_folder(tmp_path / "packed") as folder:
        write_rows(folder, "train", rows)
        write_metadata(folder, {"length": LENGTH})
    from_disk = train_batches(PackedRows(tmp_path / "packed"), batch_size=4, seed=0)
    assert take(from_disk, 6) == take(train_batches(rows, batch_size=4, seed=0), 6)


def test_another_process_has_the_same_order():
    program = (
        "import test_pipeline as t; from ocijax.data.pipeline import train_batches;"
        "print(t.take(train_batches(t.numbered_rows(16), batch_size=4, seed=3), 8))"
    )
    paths = [path for path in sys.path if path]
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join([*paths, str(__file__).rsplit("/", 1)[0]])},
        capture_output=True,
        text=True,
        check=True,
    )
    here = take(train_batches(numbered_rows(16), batch_size=4, seed=3), 8)
    assert json.loads(found.stdout) == here


def test_a_batch_that_does_not_divide_by_the_hosts_is_refused():
    with pytest.raises(InputError, match="a batch of 4 rows cannot be split over 3 hosts"):
        train_batches(numbered_rows(8), batch_size=4, seed=0, host_count=3)


def test_too_few_rows_are_refused():
    with pytest.raises(InputError, match="0 packed rows do not fill one batch of 4"):
        train_batches([], batch_size=4, seed=0)
    with pytest.raises(InputError, match="3 packed rows do not fill one batch of 4"):
        train_batches(numbered_rows(3), batch_size=4, seed=0, epochs=1)
    with pytest.raises(InputError, match="no packed rows to evaluate on"):
        evaluation_batches([], batch_size=4)
