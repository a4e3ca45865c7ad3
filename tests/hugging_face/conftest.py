"""Hugging Face folders of tiny models, written by the safetensors library itself."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests.golden.families import read_reference, weight

VOCAB_SIZE = 352
"""Rows for every token of the tiny tokenizer."""

Tensors = dict[str, np.ndarray]


def family_config(variant: str, dtype: str = "float32") -> dict:
    """The ``config.json`` that transformers writes for a variant, with a larger vocabulary."""
    return {**read_reference(variant).config, "vocab_size": VOCAB_SIZE, "dtype": dtype}


def family_tensors(variant: str, dtype: str = "float32") -> Tensors:
    """Its tensors, under the names and with the shapes that transformers saves."""
    reference = read_reference(variant)
    vocab = reference.config["vocab_size"]
    shapes = {
        name: tuple(VOCAB_SIZE if size == vocab else size for size in shape)
        for name, shape in reference.shapes.items()
    }
    return {name: weight(name, shape).astype(jnp.dtype(dtype)) for name, shape in shapes.items()}


def write_file(path: Path, tensors: Tensors) -> None:
    """A safetensors file."""
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    safetensors.numpy.save_file(whole, path, {"format": "pt"})


def write_shards(folder: Path, tensors: Tensors, count: int) -> None:
    """Several files and their index; no layer is whole in one of them."""
    names, places = sorted(tensors), {}
    for shard in range(count):
        file = f"model-{shard + 1:05}-of-{count:05}.safetensors"
        here = names[shard::count]
        write_file(folder / file, {name: tensors[name] for name in here})
        places |= dict.fromkeys(here, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def read_file(path: Path) -> list[tuple[str, dict]]:
    """The names of a file's tensors, and what it says of each."""
    return safetensors.deserialize(path.read_bytes())


def read_tensors(folder: Path) -> dict[str, tuple]:
    """Dtype, shape and bytes of every tensor of every file."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, entry in read_file(file):
            assert name not in found
            found[name] = (entry["dtype"], tuple(entry["shape"]), bytes(entry["data"]))
    return found


@pytest.fixture
def make_folder(tmp_path, tiny_tokenizer_file):
    """Writes the folder of a variant; ``tensors`` are its own unless others are given."""

    def make(
        variant: str = "llama",
        dtype: str = "float32",
        shards: int = 1,
        tensors: Tensors | None = None,
        name: str = "source",
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(family_config(variant, dtype)))
        tensors = family_tensors(variant, dtype) if tensors is None else tensors
        if shards == 1:
            write_file(folder / "model.safetensors", tensors)
        else:
            write_shards(folder, tensors, shards)
        shutil.copy(tiny_tokenizer_file, folder / "tokenizer.model")
        (folder / "generation_config.json").write_text('{"eos_token_id": 2, "top_p": 0.9}')
        return folder

    return make
