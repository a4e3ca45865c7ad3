"""Each thing that can be wrong with a folder is one line, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

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


def change_header(path: Path, change) -> None:
    """Changes what a file says of its tensors."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


@pytest.mark.parametrize(
    "field",
    [
        {"data_offsets": ["0", "4"]},
        {"data_offsets": [-8, 5112]},
        {"data_offsets": [0.0, 5120.0]},
        {"shape": None},
        {"dtype": None, "shape": "32"},
    ],
)
def test_a_header_of_other_types(make_folder, refusal, field):
    source = make_folder()
    change_header(source / "model.safetensors", lambda header: header[NAME].update(field))
    assert "its header cannot be understood" in refusal(source)


def test_two_tensors_in_one_place(make_folder, refusal):
    def change(header):
        header[NAME]["data_offsets"] = header[NAME.replace(".1.", ".0.")]["data_offsets"]

    source = make_folder()
    change_header(source / "model.safetensors", change)
    assert f"{NAME} of shape [40, 32] is at " in refusal(source)


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


@pytest.mark.parametrize("places", [[], {NAME: 1}, {NAME: [SHARD]}, None])
def test_an_index_that_names_no_files(make_folder, refusal, places):
    source = make_folder(shards=3)
    path = source / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": places}))
    assert refusal(source) == f"{path}: has no weight_map of names to files; get it anew"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("generation_config.json", b"{", "not JSON: "),
        ("tokenizer_config.json", b"[]", "holds no JSON object"),
        ("special_tokens_map.json", b"\xff\xfe", "not JSON: "),
        ("chat_template.jinja", b"\xff\xfe", "not UTF-8: "),
    ],
)
def test_a_small_file_that_is_damaged(make_folder, refusal, name, content, reason):
    source = make_folder()
    (source / name).write_bytes(content)
    assert refusal(source).startswith(f"{source / name}: {reason}")


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
    assert refusal(source, overwrite=False) == (
        f"{target} exists already: replace it by --overwrite or choose another --to"
    )
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


@pytest.mark.parametrize("place", [".", ".."])
def test_a_target_that_holds_the_source_is_not_replaced(make_folder, tmp_path, place):
    source = make_folder()
    target = source / place
    with pytest.raises(InputError, match=f"^--to={target}: holds {source}, which is read; choose"):
        import_model(source, target, template="llama-2", overwrite=True)
    assert (source / "model.safetensors").is_file()


def test_a_hugging_face_folder_is_no_checkpoint_to_export(make_folder, tmp_path):
    source = make_folder()
    with pytest.raises(InputError, match=f"^--from={source}: is a Hugging Face folder; name a"):
        export_model(source, tmp_path / "out", shard_bytes=10**9)
    assert list(tmp_path.iterdir()) == [source]


KILLED_WHEN_WRITTEN = """
import os, signal, sys
import launch.convert
write = getattr(launch.convert, sys.argv[1])
def killed(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(launch.convert, sys.argv[1], killed)
"""
IMPORT = "launch.convert.import_model(sys.argv[2], sys.argv[3], template='llama-2', overwrite=True)"
EXPORT = "launch.convert.export_model(sys.argv[2], sys.argv[3], shard_bytes=10**9, overwrite=True)"


@pytest.mark.parametrize(("writer", "call"), [("save_model", IMPORT), ("save_weights", EXPORT)])
def test_a_conversion_that_is_killed_leaves_the_name_as_it_was(make_folder, tmp_path, writer, call):
    source, checkpoint = make_folder(), tmp_path / "checkpoint"
    import_model(source, checkpoint, template="llama-2")
    origin = source if call == IMPORT else checkpoint
    old = tmp_path / "old"
    old.mkdir()
    (old / "kept").touch()
    for target, before in ((tmp_path / "new", None), (old, ["kept"])):
        child = subprocess.run(
            [sys.executable, "-c", KILLED_WHEN_WRITTEN + call, writer, str(origin), str(target)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=False,
        )
        assert child.returncode == -9, child.stderr
        found = [path.name for path in target.iterdir()] if target.exists() else None
        assert found == before


def test_parameters_that_are_not_finite_are_not_exported(make_folder, tmp_path):
    # Finite in float32, infinite in float16.
    tensors = family_tensors("llama")
    tensors[NAME][3, 4] = 1e6
    import_model(make_folder(tensors=tensors), tmp_path / "checkpoint", template="llama-2")
    with pytest.raises(InputError, match=f"{NAME}: layers/up has values not finite"):
        export_model(tmp_path / "checkpoint", tmp_path / "out", dtype="float16", shard_bytes=10**9)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "checkpoint"}
