"""launch.convert on every family: what goes in comes out, bit for bit."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch.convert import export_model, import_model
from ocijax.errors import InputError
from ocijax.hugging_face.folder import read_model_config
from ocijax.hugging_face.weights import differing_tensors, load_weights, model_tensors
from ocijax.model.parameters import parameter_table
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import LLAMA2, chat_template
from ocijax.train.checkpoint import load_description, load_model
from tests.golden.families import VARIANTS
from tests.hugging_face.conftest import family_tensors, read_file, read_tensors, write_file
from tests.live import needs_transformers

LARGE, SMALL = 10**9, 20_000
"""Bytes of a shard: of the tiny models one, or several."""


def there_and_back(source: Path, folder: Path, shard_bytes: int = LARGE, **settings) -> Path:
    """The folder that comes of importing and exporting one."""
    import_model(source, folder / "checkpoint", template="llama-2", **settings)
    export_model(folder / "checkpoint", folder / "exported", shard_bytes=shard_bytes)
    return folder / "exported"


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_and_config_come_back_as_they_were(make_folder, tmp_path, variant, dtype, shards):
    source = make_folder(variant, dtype, shards)
    exported = there_and_back(source, tmp_path, LARGE if shards == 1 else SMALL)
    assert read_tensors(exported) == read_tensors(source)
    assert (exported / "config.json").read_bytes() == (source / "config.json").read_bytes()
    assert (exported / "model.safetensors.index.json").exists() == (shards > 1)


def test_an_index_names_the_file_of_every_tensor(make_folder, tmp_path):
    exported = there_and_back(make_folder(), tmp_path, SMALL)
    index = json.loads((exported / "model.safetensors.index.json").read_text())
    sizes = [len(data) for _, _, data in read_tensors(exported).values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    files = {path.name: dict(read_file(path)) for path in exported.glob("*.safetensors")}
    assert index["weight_map"] == {name: file for file in files for name in files[file]}
    for held in files.values():
        assert len(held) == 1 or sum(len(entry["data"]) for entry in held.values()) <= SMALL


@needs_transformers
@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_finds_every_key_and_no_other(make_folder, tmp_path, variant):
    import torch
    from transformers import AutoModelForCausalLM

    exported = there_and_back(make_folder(variant), tmp_path, SMALL)
    model, report = AutoModelForCausalLM.from_pretrained(
        exported, output_loading_info=True, dtype="auto"
    )
    assert not any(report.values()), report
    parameters = dict(model.named_parameters())
    for name, expected in family_tensors(variant).items():
        torch.testing.assert_close(
            parameters[name].detach(), torch.from_numpy(expected), rtol=0, atol=0
        )


@needs_transformers
def test_transformers_finds_tokenizer_template_and_end_of_answers(make_folder, tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    exported = there_and_back(make_folder(), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(exported)
    message = {"role": "user", "content": "add 1"}
    text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    assert text == "<s>[INST] add 1 [/INST]"
    ends = GenerationConfig.from_pretrained(exported).eos_token_id
    assert tokenizer.convert_tokens_to_ids("</s>") in ends


def test_a_checkpoint_is_ready_to_use(make_folder, tmp_path, mesh):
    source = make_folder("qwen2")
    import_model(source, tmp_path / "checkpoint", template="llama-2")
    model = load_model(tmp_path / "checkpoint")
    assert model.config == read_model_config(source)
    assert model.template == LLAMA2
    assert model.tokenizer.special_id("</s>") is not None
    expected = load_weights(source, model.config, mesh)
    jax.tree.map(np.testing.assert_array_equal, model.parameters, expected)


def test_a_hugging_face_folder_loads_where_a_checkpoint_does(make_folder, tmp_path):
    source = make_folder("starcoder2")
    import_model(source, tmp_path / "checkpoint", template="llama-2")
    expected = load_model(tmp_path / "checkpoint")
    found = load_model(source, dtype="bfloat16", template="llama-2")
    assert (found.config, found.template) == (expected.config, expected.template)
    for path, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[path], array.astype(jnp.bfloat16))


def test_our_own_folder_needs_no_name_for_its_template(make_folder, tmp_path):
    exported = there_and_back(make_folder(), tmp_path)
    assert (exported / "chat_template.jinja").read_text() == chat_template(LLAMA2)
    assert load_description(exported).template == "llama-2"


def test_a_template_of_another_kind_travels_and_must_be_named(make_folder, tmp_path):
    source = make_folder()
    (source / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(InputError, match=r"none of ours; name one by --template: .*llama-2"):
        import_model(source, tmp_path / "checkpoint")
    exported = there_and_back(source, tmp_path)
    assert (exported / "chat_template.jinja").read_text() == "{{ messages }}"


def test_generation_config_travels_and_ends_where_the_template_does(make_folder, tmp_path):
    source = make_folder()
    (source / "generation_config.json").write_text('{"eos_token_id": 7, "top_p": 0.9}')
    exported = there_and_back(source, tmp_path)
    found = json.loads((exported / "generation_config.json").read_text())
    end = load_model(tmp_path / "checkpoint").tokenizer.special_id("</s>")
    assert found == {"bos_token_id": 1, "eos_token_id": [end, 7], "top_p": 0.9}


def test_the_wanted_dtype_is_what_casting_gives(make_folder, tmp_path):
    exported = there_and_back(make_folder(), tmp_path, dtype="bfloat16")
    expected = {
        name: ("BF16", array.shape, array.astype(jnp.bfloat16).tobytes())
        for name, array in family_tensors("llama").items()
    }
    assert read_tensors(exported) == expected
    assert json.loads((exported / "config.json").read_text())["dtype"] == "bfloat16"


def on_devices(count: int, script: str, *arguments: str) -> subprocess.Popen:
    """A process with so many devices that runs a script of Python."""
    flags = f"--xla_force_host_platform_device_count={count}"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


LOADED_TWICE = """
import sys
import jax, numpy as np
from ocijax.hugging_face.folder import read_model_config
from ocijax.hugging_face.weights import load_weights
from ocijax.sharding import MeshConfig, make_mesh
source, address, process = sys.argv[1:]
if address:
    jax.distributed.initialize(address, 2, int(process))
config = read_model_config(source)
meshes = make_mesh(MeshConfig(1, 2, 2)), make_mesh(MeshConfig(), jax.local_devices()[:1])
many, one = (load_weights(source, config, mesh) for mesh in meshes)
assert many["layers/gate"].addressable_shards[0].data.size * 4 == one["layers/gate"].size
for path, array in many.items():
    assert array.is_fully_addressable != bool(address)
    for shard in array.addressable_shards:
        np.testing.assert_array_equal(shard.data, np.asarray(one[path])[shard.index])
"""


def test_arrays_of_many_devices_are_those_of_one(make_folder):
    child = on_devices(4, LOADED_TWICE, str(make_folder("qwen3", shards=3)), "", "")
    _, error = child.communicate()
    assert child.returncode == 0, error


def test_each_of_two_hosts_holds_its_share_of_the_arrays(make_folder):
    source = str(make_folder("qwen3", shards=3))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    hosts = [on_devices(2, LOADED_TWICE, source, address, process) for process in ("0", "1")]
    for host in hosts:
        _, error = host.communicate()
        assert host.returncode == 0, error


def test_every_byte_is_reported_once(make_folder, mesh):
    source = make_folder("gemma", "bfloat16")
    told = []
    load_weights(source, read_model_config(source), mesh, observe=told.append)
    assert sum(told) == sum(len(data) for _, _, data in read_tensors(source).values())
    assert len(told) == len(read_tensors(source))


def test_what_a_tied_model_need_not_have_is_left_out(make_folder, tmp_path):
    tensors = family_tensors("llama-tied")
    extra = {
        "lm_head.weight": tensors["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32),
    }
    source = make_folder("llama-tied", tensors=tensors | extra)
    write_file(tmp_path / "expected.safetensors", tensors)
    exported = there_and_back(source, tmp_path)
    (tmp_path / "only").mkdir()
    (tmp_path / "expected.safetensors").rename(tmp_path / "only" / "expected.safetensors")
    assert read_tensors(exported) == read_tensors(tmp_path / "only")


def test_verifying_finds_one_changed_bit(make_folder, mesh):
    source = make_folder()
    config = read_model_config(source)
    parameters = load_weights(source, config, mesh)
    name = "model.layers.1.mlp.up_proj.weight"
    tensor = model_tensors(source, config)[name]
    with open(tensor.file, "r+b") as file:
        file.seek(tensor.start + 5)
        byte = file.read(1)[0]
        file.seek(tensor.start + 5)
        file.write(bytes([byte ^ 1]))
    assert list(
        differing_tensors(parameters, parameter_table(config), model_tensors(source, config))
    ) == [name]


def test_what_was_written_is_counted_and_verified(make_folder, tmp_path):
    tensors = read_tensors(source := make_folder("qwen2", "bfloat16"))
    size = sum(len(data) for _, _, data in tensors.values())
    said = f"{len(tensors)} tensors, {size:,} bytes, bfloat16, finite, verified bit for bit"
    checkpoint, exported = tmp_path / "checkpoint", tmp_path / "exported"
    assert import_model(source, checkpoint, template="llama-2", verify=True) == (
        f"{checkpoint}: {said}"
    )
    assert export_model(checkpoint, exported, shard_bytes=SMALL, verify=True) == (
        f"{exported}: {said}"
    )
