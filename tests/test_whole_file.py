"""Files that are whole or as they were before."""

import os
import signal
import subprocess
import sys

import pytest

from ocijax.errors import InputError
from ocijax.whole_file import left_unfinished, whole_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.txt"


def test_it_has_its_name_only_when_it_is_whole(path):
    path.write_text("old")
    with whole_file(path) as file:
        file.write("new ö")
        assert path.read_text() == "old"
    assert path.read_text("utf-8") == "new ö"
    assert os.listdir(path.parent) == [path.name]


def test_bytes_can_be_written(path):
    with whole_file(path, "wb") as file:
        file.write(b"\xff")
    assert path.read_bytes() == b"\xff"


def test_folders_above_it_are_made(tmp_path):
    with whole_file(tmp_path / "a" / "b" / "c") as file:
        file.write("x")
    assert (tmp_path / "a" / "b" / "c").read_text() == "x"


def test_a_failure_leaves_what_was_there_and_nothing_else(path):
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(str(1 // 0))
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file/below: cannot write it: "),
        whole_file(tmp_path / "file" / "below"),
    ):
        pass


def test_what_a_killed_process_leaves_is_known(path):
    program = (
        "import os, signal, sys; from ocijax.whole_file import whole_file\n"
        "with whole_file(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert child.returncode == -signal.SIGKILL
    [left] = path.parent.iterdir()
    assert left_unfinished(left, path.name)
    assert not left_unfinished(path, path.name)
    assert not left_unfinished(left, "other.txt")


def test_two_writers_at_once_do_not_mix(path):
    program = (
        "import sys; from ocijax.whole_file import whole_file\n"
        "with whole_file(sys.argv[1]) as file: file.write(sys.argv[2])"
    )
    with whole_file(path) as file:
        file.write("first")
        subprocess.run([sys.executable, "-c", program, str(path), "second"], check=True)
        assert path.read_text() == "second"
    assert path.read_text() == "first"
