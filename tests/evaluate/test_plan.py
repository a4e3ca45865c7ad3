"""What a plan may say."""

from pathlib import Path

import pytest

from ocijax.errors import InputError
from ocijax.evaluate.checkpoint import Loading
from ocijax.evaluate.plan import EndpointModel, Plan, read_plan, run_folder
from ocijax.evaluate.protocols import PROTOCOLS

FIELDS = {
    "workdir": '"runs/sweep"',
    "benchmarks": '["humaneval"]',
    "protocols": '["single"]',
    "checkpoints": '["runs/first"]',
}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "plan.toml"


def plan(path: Path, tables: str = "", **fields: str) -> Plan:
    """That of a file with these fields."""
    lines = (f"{name} = {value}\n" for name, value in {**FIELDS, **fields}.items() if value)
    path.write_text("".join(lines) + tables)
    return read_plan(path)


def refusal(path: Path, *tables: str, **fields: str) -> str:
    with pytest.raises(InputError) as refused:
        plan(path, *tables, **fields)
    text = str(refused.value)
    assert text.startswith(f"--plan={path}: ")
    assert "\n" not in text
    return text.removeprefix(f"--plan={path}: ")


def test_a_plan_has_what_its_file_says(path):
    found = plan(
        path,
        "[sampling]\nstop = ['END']\nseed = 3\n[sampling.resample]\ntemperature = 1\n"
        "[checkpoint]\nint8_cache = true\n[[endpoints]]\nurl = 'http://a/v1'\nmodel = 'b'\n",
        protocols='["single", "resample"]',
        rounds="[2, 3, 2]",
    )
    assert found.checkpoint == Loading(int8_cache=True)
    assert found.endpoints == (EndpointModel("http://a/v1", "b"),)
    assert {found.sampling[name].stop for name in ("single", "resample")} == {("END",)}
    assert found.sampling["single"].temperature == 0.0
    assert (found.sampling["resample"].temperature, found.sampling["resample"].seed) == (1.0, 3)
    assert (found.rounds_of("single"), found.rounds_of("resample")) == ((1,), (2, 3))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"workdir": ""}, "plan.workdir: is missing"),
        ({"workdir": "3"}, "plan.workdir: must be str, is 3"),
        ({"workdir": '""'}, "plan.workdir must not be empty"),
        ({"benchmarks": '"humaneval"'}, "plan.benchmarks: must be a list, is 'humaneval'"),
        ({"benchmarks": "[3]"}, "plan.benchmarks: must be str, is 3"),
        ({"checkpoints": ""}, "plan.checkpoints must not be empty where there are no endpoints"),
        ({"protocols": "[]"}, "plan.protocols must not be empty"),
        ({"protocols": '["other"]'}, "protocol 'other' is unknown; there are single"),
        ({"rounds": "[]"}, "plan.rounds must not be empty"),
        ({"rounds": "[2, 0]"}, "plan.rounds must be at least 1, is 0"),
        ({"rounds": "2"}, "plan.rounds: must be a sequence of int, is 2"),
        ({"rounds": "[true]"}, "plan.rounds: must be int, is True"),
        ({"samples": "-1"}, "plan.samples must be at least 1, is -1"),
        ({"samples": "1.0"}, "plan.samples: must be int, is 1.0"),
        ({"batch_size": "-1"}, "plan.batch_size must be at least 1, is -1"),
        ({"tasks": "0"}, "plan.tasks must be at least 1, is 0"),
        ({"prompts": '""'}, "plan.prompts must not be empty"),
        ({"sanitizer": '["paper"]'}, "plan.sanitizer: must be str, is ['paper']"),
        ({"sanitizer": '"other"'}, "plan.sanitizer must be one of fenced"),
        ({"oracle_tests": '["base"]'}, "plan.oracle_tests: must be 'base' or 'plus'"),
        ({"evaluator": "[]"}, "plan.evaluator: must be 'ocijax' or 'evalplus-0.3.1'"),
        ({"packages": '"numpy"'}, "plan.packages: must be a list, is 'numpy'"),
        ({"endpoints": "3"}, "plan.endpoints: must be a sequence of a mapping of url, model, is 3"),
        ({"endpoints": "[3]"}, "plan.endpoints: must be a mapping of url, model, is 3"),
        ({"endpoints": '[{url = "a"}]'}, "plan.endpoints.model: is missing"),
        ({"adviser": "3"}, "plan.adviser: must be a mapping of url, model, is 3"),
        ({"sampling": "3"}, "plan.sampling: must be a table, is 3"),
        ({"sampling": '{stop = "END"}'}, "plan.sampling.stop: must be a list, is 'END'"),
        (
            {"sampling": "{stop = 5}"},
            "plan.sampling.stop: must be a sequence of str, is 5",
        ),
        (
            {"sampling": "{max_new_tokens = 10.5}"},
            "plan.sampling.max_new_tokens: must be int, is 10.5",
        ),
        ({"sampling": "{speed = 3}"}, "plan.sampling.speed: no such field"),
        ({"sampling": "{top_p = 0}"}, "top_p must be above 0"),
        ({"sampling": "{resample = 0.8}"}, "plan.sampling.resample: must be a table, is 0.8"),
        (
            {"sampling": '{resample = {temperature = "1"}}'},
            "plan.sampling.resample.temperature: must be float, is '1'",
        ),
        ({"checkpoint": "3"}, "plan.checkpoint: must be a mapping of template"),
        ({"checkpoint": "{tensor = 0}"}, "plan.checkpoint.tensor must be at least 1, is 0"),
        ({"checkpoint": "{int8_cache = 1}"}, "plan.checkpoint.int8_cache: must be bool, is 1"),
        ({"checkpoint": '{dtype = "int8"}'}, "plan.checkpoint.dtype: must be '' or 'float32'"),
        ({"speed": "3"}, "plan.speed: no such field; did you mean plan."),
    ],
)
def test_a_field_that_cannot_be_so_is_named(path, fields, problem):
    assert refusal(path, **fields).startswith(problem)


HOT = "[sampling]\ntemperature = 1.0\n"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"protocols": '["human"]'}, "plan.adviser is missing, which protocol human needs"),
        (
            {"protocols": '["resample_tokens"]'},
            "plan.protocols must have execution, whose tokens resample_tokens may spend",
        ),
        (
            {"protocols": '["resample_tokens", "single"]', "budget_protocol": '"single"'},
            "plan.budget_protocol must have rounds, which single has not",
        ),
        (
            {"protocols": '["resample_tokens"]', "budget_protocol": '"resample_tokens"'},
            "plan.budget_protocol must have rounds, which resample_tokens has not",
        ),
        ({"budget_protocol": '"other"'}, "plan.budget_protocol must be one of single, "),
    ],
)
def test_what_a_protocol_lacks_is_named(path, fields, problem):
    assert refusal(path, HOT, **fields).startswith(problem)


@pytest.mark.parametrize("protocol", ["resample", "resample_tokens"])
def test_resampling_greedily_is_refused(path, protocol):
    said = refusal(path, protocols=f'["execution", "{protocol}"]')
    assert said == (
        f"protocol {protocol}: at temperature 0 every answer is the same; give a --temperature"
    )


def test_a_file_that_cannot_be_read_is_named(path):
    with pytest.raises(InputError, match="cannot read it: No such file"):
        read_plan(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="no TOML"):
        read_plan(path)


RECORD = {"benchmark": "b", "protocol": "single", "model": "runs/first"}


def test_a_checkpoint_that_was_moved_keeps_its_folder():
    known = RECORD | {"model_sha256": "a"}
    assert run_folder("runs", known) == run_folder("runs", known | {"model": "elsewhere"})
    assert run_folder("runs", known) != run_folder("runs", known | {"model_sha256": "b"})


def test_a_model_whose_content_nobody_knows_is_told_by_its_name():
    assert run_folder("runs", RECORD) != run_folder("runs", RECORD | {"model": "other"})


def test_the_plan_that_comes_along_has_every_protocol():
    plan = read_plan(Path(__file__).parents[2] / "configs" / "protocols.toml")
    assert set(plan.protocols) == set(PROTOCOLS)
