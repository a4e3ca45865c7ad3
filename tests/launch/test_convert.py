"""launch.convert, and launch.train from a Hugging Face folder, as a user starts them."""

import re
import subprocess
import sys

import pytest

from ocijax.train.checkpoint import load_model
from tests.hugging_face.conftest import make_folder, read_tensors  # noqa: F401  a fixture
from tests.launch.conftest import ROOT
from tests.train.conftest import conversation_file  # noqa: F401  a fixture


@pytest.fixture
def run(start):
    """Exit status, standard output and standard error of a program."""

    def run(module, *flags):
        child = start(module, *flags)
        out, error = child.communicate()
        return child.returncode, out, error

    return run


def test_a_folder_goes_there_and_back(make_folder, run, tmp_path):  # noqa: F811
    source, checkpoint, exported = make_folder(), tmp_path / "checkpoint", tmp_path / "exported"
    status, out, error = run(
        "launch.convert",
        f"--from_hf={source}",
        f"--to={checkpoint}",
        "--template=llama-2",
        "--verify",
    )
    assert (status, out.count("\n")) == (0, 1), error
    assert out.startswith(f"{checkpoint}: 21 tensors, ")
    done = dict.fromkeys(re.findall(r"(\w+): 100%", error))
    assert [*done] == ["reading", "writing", "verifying"]
    assert "orbax" not in error
    status, out, error = run("launch.convert", f"--from={checkpoint}", f"--to_hf={exported}")
    assert status == 0, error
    assert "writing: 100%" in error
    assert read_tensors(exported) == read_tensors(source)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--to=x",), "give either --from_hf=DIR and --to=DIR, or --from=DIR and --to_hf=DIR"),
        (("--from_hf=x", "--to_hf=y"), "give either --from_hf=DIR and --to=DIR, or --from=DIR"),
        (("--from=x", "--to_hf=y", "--template=z"), "--template: is for --from_hf"),
        (("--from_hf=x", "--to=y", "--scores=z"), "--scores: is for the model card"),
        (("--from=x", "--to_hf=y", "--scores=z"), "--scores=z: not the summary.json of an"),
        (("--from=nowhere", "--to_hf=y"), "nowhere: holds no complete checkpoint"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(run, flags, message, tmp_path):
    flags = [flag.replace("=y", f"={tmp_path}/y") for flag in flags]
    status, out, error = run("launch.convert", *flags)
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert message in error
    assert not list(tmp_path.iterdir())


WITHOUT_ROOM = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
runpy.run_module("launch.convert", run_name="__main__")
"""


def test_a_disk_without_room_is_named_at_the_end_and_nothing_is_left(make_folder, tmp_path):  # noqa: F811
    source, target = make_folder(), tmp_path / "checkpoint"
    flags = [f"--from_hf={source}", f"--to={target}", "--template=llama-2"]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_ROOM, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    *_, said, end = re.split("[\r\n]", ended.stderr)
    assert (ended.returncode, ended.stdout, end) == (1, "", "")
    assert said.startswith(f"error: {target}/whole: cannot be written: ")
    assert list(tmp_path.iterdir()) == [source]


def test_training_takes_shape_weights_and_tokenizer_from_a_folder(
    make_folder,  # noqa: F811
    conversation_file,  # noqa: F811
    run,
    tmp_path,
):
    source = make_folder("starcoder2")
    status, _, error = run(
        "launch.train",
        "--config=configs/smoke.py",
        f"--from_hf={source}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.train={conversation_file}",
        "--config.data.template=llama-2",
        "--config.data.length=128",
        "--config.train.steps=1",
        "--config.train.learning_rate=1e-9",
    )
    assert status == 0, error
    expected, found = load_model(source, template="llama-2"), load_model(tmp_path / "run")
    assert found.config == expected.config
    for path, array in expected.parameters.items():
        assert abs(array - found.parameters[path]).max() < 1e-6
