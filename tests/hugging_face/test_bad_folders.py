"""Each thing that can be wrong with a folder is one line, and leaves nothing behind."""

import json

import numpy as np
import pytest

from launch.convert import export_model, import_model
from ocijax.errors import InputError
from ocijax.hugging_face.tensors import find_tensors
from tests.hugging_face.conftest import family_tensors

SHARD = "model-00002-of-00003.safetensors"
NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def refusal(tmp_path):
    """The one line with which an import ends; nothing was left beside the source."""

    def refuse(source, **settings) -> str:
        before = set(tmp_path.iterdir())
        with pytest.raises(InputError) as caught:
            import_model(source, tmp_path / "target", **{"template": "llama-2", **settings})
        assert set(tmp_path.iterdir()) == before
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse


def test_a_missing_shard(make_folder, refusal):
    source = make_folder(shards=3)
    (source / SHARD).unlink()
    assert refusal(source) == (
        f"{source}: {SHARD} is missing, which model.safetensors.index.json names; get it too"
    )


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_file_that_was_cut_off(make_folder, refusal, kept):
    source = make_folder(shards=3)
    path = source / SHARD
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(source).startswith(f"{path}: not a whole safetensors file: ")


def test_a_header_that_is_no_header(make_folder, refusal):
    source = make_folder()
    path = source / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[20:24] = b"\xff\xff{{"
    path.write_bytes(content)
    assert "its header cannot be understood" in refusal(source)


def test_a_tensor_of_the_wrong_shape(make_folder, refusal):
    tensors = family_tensors("llama")
    source = make_folder(tensors={**tensors, NAME: tensors[NAME].T.copy()})
    assert refusal(source) == (
        f"{source}/model.safetensors: {NAME} is [32, 40], but [40, 32] by config.json"
    )


def test_a_tensor_that_is_missing(make_folder, refusal):
    tensors = family_tensors("llama")
    del tensors[NAME]
    source = make_folder(tensors=tensors)
    assert f"{NAME} is in none of the files" in refusal(source)


def test_a_tensor_too_many(make_folder, refusal):
    extra = {"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)}
    source = make_folder(tensors=family_tensors("llama") | extra)
    assert "q_proj.bias belongs to no parameter by config.json" in refusal(source)


def test_a_head_that_is_not_the_embedding_it_is_tied_to(make_folder, refusal):
    tensors = family_tensors("llama-tied")
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
    source = make_folder("llama-tied", tensors=tensors | head)
    assert "set tie_word_embeddings to false there" in refusal(source)


def test_an_index_that_says_otherwise_than_the_files(make_folder, refusal):
    source = make_folder(shards=3)
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    moved = next(name for name, shard in index["weight_map"].items() if shard != SHARD)
    index["weight_map"][moved] = SHARD
    path.write_text(json.dumps(index))
    assert f"holds {moved}, but model.safetensors.index.json does not say so" in refusal(source)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_value_that_is_not_finite(make_folder, refusal, dtype, value):
    tensors = family_tensors("llama", dtype)
    tensors[NAME][3, 4] = value
    source = make_folder(dtype=dtype, tensors=tensors)
    assert f"{NAME} has values that are not finite in {dtype}" in refusal(source)


def test_a_value_that_the_wanted_dtype_cannot_hold(make_folder, refusal):
    tensors = family_tensors("llama")
    tensors[NAME][3, 4] = 1e6
    source = make_folder(tensors=tensors)
    assert f"{NAME} has values that are not finite in float16" in refusal(source, dtype="float16")


def test_quantised_tensors(make_folder, refusal):
    source = make_folder(tensors=family_tensors("llama") | {NAME: np.zeros((40, 32), np.int8)})
    assert f"{NAME} is I8; only F32, F16, BF16 are supported" in refusal(source)


def test_an_unknown_architecture_lists_the_known_ones(make_folder, refusal):
    source = make_folder()
    config = {"architectures": ["MambaForCausalLM"], "model_type": "mamba"}
    (source / "config.json").write_text(json.dumps(config))
    message = refusal(source)
    assert "['MambaForCausalLM'] is not known; known are LlamaForCausalLM, " in message
    assert message.startswith(str(source / "config.json"))


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows(make_folder, refusal):
    source = make_folder()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    assert "has 340 tokens, but the model's vocab_size is 100" in refusal(source)


def test_a_template_that_the_tokenizer_does_not_know(make_folder, refusal):
    source = make_folder()
    assert refusal(source, template="none").startswith("template 'none' is unknown; there are ")


def test_a_folder_without_tokenizer(make_folder, refusal):
    source = make_folder()
    (source / "tokenizer.model").unlink()
    assert refusal(source) == f"{source}: holds neither tokenizer.json nor tokenizer.model"


def test_files_of_pytorch(make_folder, refusal):
    source = make_folder()
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    message = refusal(source)
    assert message.startswith(f"{source}: holds .bin files only, which we do not read; ")
    assert f"M.from_pretrained('{source}', dtype='auto').save_pretrained('{source}')" in message


def test_a_folder_that_is_not_there(refusal, tmp_path):
    assert refusal(tmp_path / "nowhere").startswith(
        f"{tmp_path}/nowhere/config.json: cannot be read"
    )


def test_a_target_that_is_there_is_replaced_only_when_asked(make_folder, refusal, tmp_path):
    source, target = make_folder(), tmp_path / "target"
    import_model(source, target, template="llama-2")
    assert refusal(source) == f"{target} exists already: remove it or choose another --to"
    other = make_folder(tensors={n: a + 1 for n, a in family_tensors("llama").items()}, name="b")
    import_model(other, target, template="llama-2", overwrite=True)
    export_model(target, tmp_path / "back", shard_bytes=10**9)
    stored = find_tensors(tmp_path / "back")[NAME].read()
    np.testing.assert_array_equal(stored, family_tensors("llama")[NAME] + 1)


def test_a_target_that_cannot_be_replaced_stays_as_it_was(make_folder, refusal, tmp_path):
    target = tmp_path / "target"
    import_model(make_folder(), target, template="llama-2")
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    tensors = family_tensors("llama")
    tensors["lm_head.weight"][0, 0] = np.nan
    refusal(make_folder(tensors=tensors, name="b"), overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_parameters_that_are_not_finite_are_not_exported(make_folder, tmp_path):
    # Finite in float32, infinite in float16.
    tensors = family_tensors("llama")
    tensors[NAME][3, 4] = 1e6
    import_model(make_folder(tensors=tensors), tmp_path / "checkpoint", template="llama-2")
    with pytest.raises(InputError, match=f"{NAME}: layers/up has values not finite"):
        export_model(tmp_path / "checkpoint", tmp_path / "out", dtype="float16", shard_bytes=10**9)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "checkpoint"}
