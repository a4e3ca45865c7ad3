"""Adapters: what they compute, what of a model they train, and what leaves as files."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch.convert import export_model, import_model
from ocijax.errors import InputError
from ocijax.hugging_face.folder import read_model_config
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.lora import LoraConfig, adapter_table, merge_adapter, with_adapter
from ocijax.model.parameters import init_table
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.checkpoint import load_adapter, load_model
from ocijax.train.trainer import train
from tests.hugging_face.conftest import make_folder, read_tensors  # noqa: F401  a fixture
from tests.live import needs_peft
from tests.train.conftest import random_batch

STEPS = 3
LORA = LoraConfig(rank=4, alpha=16.0)
ADAPTED = {"llama": 7, "starcoder2": 6}
"""Matrices of a layer."""


@pytest.fixture(params=["llama", pytest.param("starcoder2", marks=pytest.mark.soak)])
def source(request, make_folder):  # noqa: F811
    return make_folder(request.param)


@pytest.fixture
def begun(recipe, change, source):
    """A recipe that trains an adapter of that folder's model."""
    recipe = replace(recipe, model=read_model_config(source))
    recipe = change(recipe, initial_checkpoint=str(source), steps=STEPS, learning_rate=1e-2)
    return replace(recipe, lora=LORA)


def random_adapter(config, lora):
    """One whose second factors are not zero."""
    fresh = init_table(adapter_table(config, lora), jax.random.key(1))
    keys = jax.random.split(jax.random.key(2), len(fresh))
    return {
        path: array + 0.1 * jax.random.normal(key, array.shape)
        for (path, array), key in zip(fresh.items(), keys, strict=True)
    }


def logits(config, parameters):
    batch = random_batch(2, 32, config.vocab_size, 0)
    decoder = Decoder(config, ComputeConfig("float32"), parameters)
    return decoder.logits(decoder(batch["tokens"], batch["positions"], batch["segment_ids"]))


def test_a_fresh_adapter_changes_nothing(source):
    config, parameters, _, _ = load_model(source, template="llama-2")
    adapter = init_table(adapter_table(config, LORA), jax.random.key(0))
    adapted = with_adapter(parameters, adapter, LORA)
    assert len(adapter) == 2 * ADAPTED[source_family(source)]
    np.testing.assert_array_equal(logits(config, adapted), logits(config, parameters))


def source_family(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


@pytest.mark.parametrize("targets", [(), ("query", "value"), ("output", "up", "head")])
def test_a_merged_model_computes_what_the_adapted_one_does(source, targets):
    config, parameters, _, _ = load_model(source, template="llama-2")
    if "head" in targets and config.tie_word_embeddings:
        targets = targets[:-1]
    lora = replace(LORA, targets=targets)
    adapter = random_adapter(config, lora)
    before = logits(config, parameters)
    adapted = logits(config, with_adapter(parameters, adapter, lora))
    merged = logits(config, merge_adapter(config, lora, parameters, adapter))
    assert jnp.abs(adapted - before).max() > 0.1
    np.testing.assert_allclose(merged, adapted, atol=2e-5)


def test_training_an_adapter_lowers_the_loss_and_leaves_the_model(begun, source, tmp_path):
    before = load_model(source, template="llama-2").parameters
    losses = []
    recipe = replace(begun, train=replace(begun.train, steps=12, log_every=1))
    train(
        recipe,
        tmp_path / "run",
        observe=lambda progress: losses.append(progress.report and progress.report.loss),
    )
    assert losses[-1] < losses[1]
    step = tmp_path / "run/checkpoints/12"
    assert not (step / "params").exists()
    assert set(load_adapter(step, make_mesh(MeshConfig(), jax.devices()[:1]))) == set(
        adapter_table(begun.model, LORA)
    )
    adapted = {path.removesuffix("_lora_a") for path in adapter_table(begun.model, LORA)}
    for path, array in load_model(step).parameters.items():
        assert np.array_equal(array, before[path]) == (path not in adapted), path


def test_a_run_that_was_stopped_goes_on_bit_for_bit(begun, tmp_path):
    train(begun, tmp_path / "whole")
    assert train(begun, tmp_path / "two", stop=lambda step: True).step == 1
    train(begun, tmp_path / "two")
    one, other = (load_model(tmp_path / name).parameters for name in ("whole", "two"))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_peft_files_hold_what_merging_adds_to_the_tensors(begun, source, tmp_path):
    train(begun, tmp_path / "run")
    export_model(tmp_path / "run", tmp_path / "merged", shard_bytes=10**9)
    said = export_model(
        tmp_path / "run", tmp_path / "peft", shard_bytes=10**9, peft=True, verify=True
    )
    assert said.endswith("float32, finite, verified bit for bit")
    settings = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (4, 16.0)
    assert settings["base_model_name_or_path"] == str(source)
    assert not (tmp_path / "peft/config.json").exists()
    assert "library_name: peft" in (tmp_path / "peft/README.md").read_text()
    before, merged, factors = (
        {name: array(*entry) for name, entry in read_tensors(folder).items()}
        for folder in (source, tmp_path / "merged", tmp_path / "peft")
    )
    prefix = "base_model.model."
    for name, tensor in merged.items():
        stem = prefix + name.removesuffix(".weight")
        if stem.rpartition(".")[2] in settings["target_modules"] and name.endswith(".weight"):
            first, second = (
                factors.pop(f"{stem}.lora_A.weight"),
                factors.pop(f"{stem}.lora_B.weight"),
            )
            assert first.shape[0] == second.shape[1] == 4
            expected = before[name] + 16.0 / 4 * second @ first
            np.testing.assert_allclose(tensor, expected, atol=1e-6)
        else:
            np.testing.assert_array_equal(tensor, before[name])
    assert not factors


def array(dtype: str, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    assert dtype == "F32"
    return np.frombuffer(content, np.float32).reshape(shape)


@needs_peft
def test_peft_loads_the_adapter_and_computes_the_same(begun, source, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    train(begun, tmp_path / "run")
    export_model(tmp_path / "run", tmp_path / "peft", shard_bytes=10**9, peft=True)
    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    tokens = np.random.default_rng(0).integers(0, 300, (1, 24))
    with torch.no_grad():
        theirs = adapted(torch.tensor(tokens)).logits.numpy()
    config, parameters, _, _ = load_model(tmp_path / "run")
    decoder = Decoder(config, ComputeConfig("float32"), parameters)
    positions = np.arange(24)[None]
    ours = decoder.logits(decoder(tokens, positions, np.ones_like(positions)))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_model_that_was_adapted_is_named_where_it_is_gone(begun, source, tmp_path):
    train(begun, tmp_path / "run")
    source.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"adapts {source}, which is not there; put it back"):
        load_model(tmp_path / "run")


def test_a_model_is_no_adapter(begun, source, tmp_path):
    import_model(source, tmp_path / "model", template="llama-2")
    with pytest.raises(InputError, match="is a model, not an adapter of one"):
        export_model(tmp_path / "model", tmp_path / "peft", shard_bytes=10**9, peft=True)
    assert not (tmp_path / "peft").exists()


def test_an_unknown_target_is_named_with_those_there_are(begun):
    with pytest.raises(ValueError, match=r"^lora\.targets: 'q_proj' is none of query, key, value,"):
        replace(begun, lora=replace(LORA, targets=("q_proj",)))


def test_an_adapter_needs_a_model(begun, change):
    with pytest.raises(ValueError, match=r"train\.initial_checkpoint is empty: lora\.rank needs"):
        change(begun, initial_checkpoint="")
