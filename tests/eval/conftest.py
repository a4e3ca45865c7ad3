"""A checkpoint that programs can measure."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from ocijax.model.parameters import init_parameters
from ocijax.train.checkpoint import ModelDescription, save_model
from tests.sample.conftest import CONFIG as SHORT

CONFIG = replace(SHORT, max_position_embeddings=512)


@pytest.fixture(scope="session")
def write_checkpoint(tiny_tokenizer_file):
    """Writes a model that knows nothing, by its seed, to a folder."""

    def write(folder: Path, seed: int = 0) -> Path:
        parameters = init_parameters(CONFIG, jax.random.key(seed))
        save_model(folder, parameters, ModelDescription(CONFIG, tiny_tokenizer_file, "llama-2"))
        return folder

    return write


@pytest.fixture(scope="session")
def checkpoint(write_checkpoint, tmp_path_factory) -> Path:
    """One of them, to be read alone."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")
