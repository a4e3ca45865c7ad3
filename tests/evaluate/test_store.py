"""Results on disk."""

import json
import subprocess
import sys

import pytest

from ocijax.errors import InputError
from ocijax.evaluate.store import ResultStore, RowLog

SETTINGS = {"protocol": "single", "sampling": {"temperature": 0.0}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def test_rows_are_there_when_the_file_is_opened_again(path):
    log = RowLog(path)
    log.append({"a": 1})
    log.append({"b": "ö\udc80\n"})
    log.close()
    assert RowLog(path).rows == [{"a": 1}, {"b": "ö\udc80\n"}]


def test_a_row_is_on_disk_as_soon_as_it_is_appended(path):
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from ocijax.evaluate.store import RowLog;"
        "RowLog(Path(sys.argv[1])).append({'a': 1}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert RowLog(path).rows == [{"a": 1}]


@pytest.mark.parametrize("torn", ['{"b": 2', '{"b": 2}', "\xff"])
def test_a_last_line_left_half_is_cut_off(path, torn):
    path.write_text('{"a": 1}\n' + torn, encoding="latin-1")
    log = RowLog(path)
    assert log.rows == [{"a": 1}]
    log.append({"c": 3})
    assert path.read_text() == '{"a": 1}\n{"c": 3}\n'


def test_a_damaged_row_is_named_by_its_line(path):
    path.write_text('{"a": 1}\n{"b"\n{"c": 3}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl:2: damaged"):
        RowLog(path)


def test_a_file_has_one_writer_at_a_time(path):
    log = RowLog(path)
    with pytest.raises(InputError, match="another run is writing it"):
        RowLog(path)
    log.close()
    RowLog(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot open it"):
        RowLog(tmp_path / "absent" / "rows.jsonl")


FULL_DISK = """
import resource, sys
from pathlib import Path
from ocijax.errors import InputError
from ocijax.evaluate.store import ResultStore, write_json
try:
    with ResultStore(sys.argv[1], {}) as store:
        store.results.append({"a": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
        {action}
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ('store.results.append({"b": "b" * 99})', "results.jsonl"),
        ('write_json(store.workdir / "summary.json", "c" * 99)', "summary.json"),
    ],
)
def test_a_full_disk_is_one_line_and_the_rows_before_are_whole(tmp_path, action, name):
    program = FULL_DISK.replace("{action}", action)
    out = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True)
    assert out == f"{tmp_path / name}: cannot write it: File too large\n"
    assert not (tmp_path / "summary.json").exists()
    with ResultStore(tmp_path, {}) as store:
        assert store.rows == [{"a": 1}]


def test_a_workdir_is_made_and_knows_its_run(tmp_path):
    with ResultStore(tmp_path / "a" / "b", SETTINGS) as store:
        store.results.append({"task_id": "t", "sample": 0})
    with ResultStore(tmp_path / "a" / "b", SETTINGS) as store:
        assert store.rows == [{"task_id": "t", "sample": 0}]
        assert set(store.finished()) == {("t", 0)}


def test_a_workdir_of_another_run_is_refused_naming_the_difference(tmp_path):
    with ResultStore(tmp_path, SETTINGS):
        pass
    other = {"protocol": "single", "sampling": {"temperature": 0.8}}
    with pytest.raises(InputError) as refusal:
        ResultStore(tmp_path, other)
    assert str(refusal.value) == (
        f"--workdir={tmp_path}: belongs to a run with sampling.temperature=0.0, not 0.8; "
        "choose another"
    )


def test_a_checkpoint_that_was_moved_has_the_same_run(tmp_path):
    with ResultStore(tmp_path, {"model": "runs/first", "model_sha256": "a"}):
        pass
    with ResultStore(tmp_path, {"model": "elsewhere", "model_sha256": "a"}):
        pass
    assert json.loads((tmp_path / "settings.json").read_text())["model"] == "runs/first"
    with pytest.raises(InputError, match="model_sha256='a', not 'b'"):
        ResultStore(tmp_path, {"model": "runs/first", "model_sha256": "b"})


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds files but no run"):
        ResultStore(tmp_path, SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_workdir_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="holds files but no run"):
        ResultStore(tmp_path / "file", SETTINGS)


def test_the_settings_can_be_read(tmp_path):
    with ResultStore(tmp_path, SETTINGS):
        assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


def test_a_run_killed_while_it_claimed_its_folder_can_begin_again(tmp_path):
    (tmp_path / ".settings.json.12.unfinished").write_text('{"protocol"')
    with ResultStore(tmp_path, SETTINGS) as store:
        assert not store.rows
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


@pytest.mark.parametrize("text", ['{"protocol"', "[]", "[" * 10**5])
def test_damaged_settings_are_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: damaged: .*; choose another workdir"):
        ResultStore(tmp_path, SETTINGS)
