"""Training from a Hugging Face folder, and what then goes back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from launch.convert import export_model, import_model
from ocijax.errors import InputError
from ocijax.hugging_face.folder import read_model_config
from ocijax.model.lora import LoraConfig
from ocijax.template import CHATML, chat_template
from ocijax.train.checkpoint import load_description, load_model
from ocijax.train.trainer import train
from tests.hugging_face.conftest import make_folder  # noqa: F401  a fixture

STEPS = 2
FAMILIES = ("llama", "starcoder2", "gemma", "qwen2", "qwen3")
_OFTEN = ("llama-whole", "llama-lora", "starcoder2-whole", "gemma-whole")
"""Trained and exported by every run of the tests; the others by the soak."""


@pytest.fixture
def source(request, make_folder):  # noqa: F811
    """A folder with a chat template and files of its own."""
    folder = make_folder(getattr(request, "param", "qwen2"))
    settings = {"tokenizer_class": "Qwen2Tokenizer", "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def begun(recipe, change, source):
    """A recipe that starts from that folder."""
    recipe = replace(recipe, model=read_model_config(source))
    return change(recipe, initial_checkpoint=str(source), steps=STEPS, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("source", "adapter"),
    [
        pytest.param(
            family,
            LoraConfig(rank=rank),
            id=f"{family}-{name}",
            marks=[] if f"{family}-{name}" in _OFTEN else pytest.mark.soak,
        )
        for family in FAMILIES
        for name, rank in (("whole", 0), ("lora", 4))
    ],
    indirect=["source"],
)
def test_what_was_trained_comes_back_from_a_folder_bit_for_bit(begun, source, adapter, tmp_path):
    train(replace(begun, lora=adapter), tmp_path / "run")
    before = load_model(source, template="llama-2").parameters
    for dtype, shard_bytes in (("float32", 20_000), ("bfloat16", 10**9)):
        trained = load_model(tmp_path / "run", dtype=dtype)
        assert any(
            not np.array_equal(array, before[path].astype(dtype))
            for path, array in trained.parameters.items()
        )
        exported, again = tmp_path / f"exported-{dtype}", tmp_path / f"again-{dtype}"
        settings = {"dtype": dtype, "shard_bytes": shard_bytes, "verify": True}
        export_model(tmp_path / "run", exported, **settings)
        import_model(exported, again, verify=True)
        found = load_model(again)
        assert (found.config, found.template) == (trained.config, trained.template)
        for path, array in trained.parameters.items():
            assert found.parameters[path].dtype == dtype
            np.testing.assert_array_equal(found.parameters[path], array)
        assert (exported / "model.safetensors").exists() == (shard_bytes == 10**9)


def test_files_travel_with_a_run_but_for_the_old_chat_template(begun, source, change, tmp_path):
    train(change(begun, steps=1), tmp_path / "run")
    files = load_description(tmp_path / "run").files
    assert json.loads(files["tokenizer_config.json"]) == {"tokenizer_class": "Qwen2Tokenizer"}
    assert files["generation_config.json"] == (source / "generation_config.json").read_bytes()


def test_a_run_goes_on_without_the_folder_it_began_from(begun, source, tmp_path):
    assert train(begun, tmp_path / "run", stop=lambda step: True).step == 1
    files = load_description(tmp_path / "run").files
    source.rename(tmp_path / "elsewhere")
    assert train(begun, tmp_path / "run").step == STEPS
    assert load_description(tmp_path / "run").files == files


def test_another_tokenizer_leaves_the_files_of_the_old_one_behind(begun, source, tmp_path):
    model = Path(begun.data.tokenizer).read_bytes()
    # The same pieces in a file that differs: an empty field at its end.
    (source / "tokenizer.model").write_bytes(model + b"\xa2\x06\x00")
    train(begun, tmp_path / "run")
    assert load_description(tmp_path / "run").files.keys() == {"config.json"}


def test_the_card_says_what_it_was_trained_by(begun, tmp_path):
    train(begun, tmp_path / "run")
    scores = [
        {
            "benchmark": "humaneval",
            "protocol": "execution",
            "tasks": 164,
            "passed": 82,
            "pass_rate": 0.5,
            "ci_low": 0.424,
            "ci_high": 0.576,
        }
    ]
    export_model(tmp_path / "run", tmp_path / "model", shard_bytes=10**9, scores=scores)
    card = (tmp_path / "model" / "README.md").read_text()
    for line in (
        "# model",
        "| started from | source |",
        f"| steps | {STEPS} |",
        "| learning_rate | 0.001 |",
        "- train.jsonl",
        "| humaneval | execution | 82 | 164 | 50.0% | 42.4% - 57.6% |",
    ):
        assert line in card.splitlines()


def test_a_template_chosen_in_training_is_the_one_that_goes_back(begun, tmp_path):
    other = replace(begun.data, template="chatml")
    train(replace(begun, data=other), tmp_path / "run")
    export_model(tmp_path / "run", tmp_path / "model", shard_bytes=10**9)
    text = (tmp_path / "model" / "chat_template.jinja").read_text()
    assert text == chat_template(CHATML)
    assert "chat_template" not in (tmp_path / "model" / "tokenizer_config.json").read_text()
    ends = json.loads((tmp_path / "model" / "generation_config.json").read_text())["eos_token_id"]
    assert load_model(tmp_path / "run").tokenizer.special_id("<|im_end|>") in ends


def test_a_model_that_would_compute_something_else_is_refused_by_field(begun, tmp_path):
    wrong = replace(begun, model=replace(begun.model, rope_theta=5.0))
    with pytest.raises(InputError, match=r"config\.model\.rope_theta is 10000\.0 there, but 5\.0"):
        train(wrong, tmp_path / "run")
