import contextlib
import threading

import numpy as np
import pytest

from ocijax.data.example import Example
from ocijax.data.packing import pack
from ocijax.data.storage import (
    PackedRows,
    read_metadata,
    write_metadata,
    write_rows,
)
from ocijax.errors import InputError
from ocijax.new_folder import new_folder

LENGTH = 8


def rows(count: int) -> list:
    weights = np.array([0, 0.5, 1], np.float32)
    examples = [Example(np.full(3, 70_000 + i, np.int32), weights) for i in range(2 * count)]
    return list(pack(examples, LENGTH))


@pytest.fixture
def packed(tmp_path):
    with new_folder(tmp_path / "packed") as folder:
        write_rows(folder, "train", rows(5))
        write_metadata(folder, {"length": LENGTH, "note": "kept"})
    return tmp_path / "packed"


def test_rows_are_read_as_they_were_written(packed):
    expected = rows(5)
    found = PackedRows(packed)
    assert len(found) == len(expected) == 5
    for index in (4, 0, 2, 1, 3):
        for name, array in expected[index].items():
            assert found[index][name].dtype == array.dtype
            np.testing.assert_array_equal(found[index][name], array)


def test_metadata_is_read_as_it_was_written(packed):
    assert read_metadata(packed)["note"] == "kept"
    assert PackedRows(packed).length == LENGTH


def test_a_split_that_is_not_there_is_named(packed):
    with pytest.raises(InputError, match=r"holdout\.array_record: there is no such split"):
        PackedRows(packed, "holdout")


def test_another_folder_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="not a packed folder"):
        PackedRows(tmp_path)


def test_an_existing_output_is_refused_and_left_alone(packed):
    with pytest.raises(InputError, match="exists already"), new_folder(packed):
        pass
    assert len(PackedRows(packed)) == 5


def test_a_failure_leaves_nothing(tmp_path):
    def broken():
        yield from rows(1)
        raise RuntimeError

    with pytest.raises(RuntimeError), new_folder(tmp_path / "packed") as folder:
        write_rows(folder, "train", broken())
    assert not list(tmp_path.iterdir())


def test_nor_does_one_beside_which_threads_still_write(tmp_path):
    many = threading.Event()

    def write(folder):
        with contextlib.suppress(FileNotFoundError):
            for number in range(10_000):
                (folder / str(number)).touch()
                if number == 1000:  # which take longer to remove than one to make
                    many.set()

    def broken(folder):
        threading.Thread(target=write, args=[folder]).start()
        yield from rows(1)
        many.wait()
        raise RuntimeError

    with pytest.raises(RuntimeError), new_folder(tmp_path / "packed") as folder:
        write_rows(folder, "train", broken(folder))
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="packed: cannot make it"),
        new_folder(tmp_path / "file" / "packed"),
    ):
        pass


def test_until_it_is_complete_the_folder_has_another_name(tmp_path):
    with new_folder(tmp_path / "packed"):
        assert not (tmp_path / "packed").exists()
    assert (tmp_path / "packed").is_dir()
