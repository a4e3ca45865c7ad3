"""What a measured checkpoint is known by."""

import jax
import pytest

from ocijax.evaluate.checkpoint import Loading, checkpoint_digest
from ocijax.model.config import ModelConfig
from ocijax.model.description import AdapterDescription
from ocijax.model.lora import LoraConfig
from ocijax.train.checkpoint import ModelDescription, save_model


@pytest.fixture
def folder(tmp_path):
    """A step of a training run, as far as its files go."""
    for name in ("params/0", "model/config", "optimizer/0", "data/state"):
        path = tmp_path / "7" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    return tmp_path / "7"


def test_a_moved_checkpoint_is_the_same(folder):
    before = checkpoint_digest(folder)
    assert checkpoint_digest(folder.rename(folder.with_name("8"))) == before


@pytest.mark.parametrize("change", ["params/0", "model/config", "tokenizer.json"])
def test_other_content_is_another_checkpoint(folder, change):
    before = checkpoint_digest(folder)
    (folder / change).write_text("other")
    assert checkpoint_digest(folder) != before


def test_what_only_training_reads_does_not_count(folder):
    before = checkpoint_digest(folder)
    (folder / "optimizer" / "0").write_text("other")
    (folder / "data" / "state").unlink()
    assert checkpoint_digest(folder) == before


def test_what_an_adapter_adapts_counts(folder, tmp_path, tiny_tokenizer_file):
    config = ModelConfig(352, 16, 32, 1, 2, 2, 8, 512)
    about = AdapterDescription(LoraConfig(rank=1), str(folder))
    adapter = tmp_path / "adapter"
    model = ModelDescription(config, tiny_tokenizer_file, "llama-2", adapter=about)
    save_model(adapter, {"up": jax.numpy.zeros(1)}, model)
    (adapter / "params").rename(adapter / "adapter")
    before = checkpoint_digest(adapter)
    (folder / "params" / "0").write_text("other")
    assert checkpoint_digest(adapter) != before


def test_a_dtype_that_was_not_asked_for_is_that_of_the_host():
    platform = jax.default_backend()
    assert Loading().here().dtype == ("float32" if platform == "cpu" else "bfloat16")
    assert Loading(dtype="bfloat16").here() == Loading(dtype="bfloat16")


def test_it_is_called_by_what_is_not_usual():
    assert str(Loading()) == ""
    assert str(Loading("chatml", draft_tokens=7)) == "template=chatml draft_tokens=7"
