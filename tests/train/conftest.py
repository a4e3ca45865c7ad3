"""A tiny recipe over real rows, for every test of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ocijax.conversation import Conversation, Message, write_conversations
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.train.config import DataConfig, Recipe, TrainConfig

MODEL = ModelConfig(
    vocab_size=352,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
)


def conversations(count: int) -> list[Conversation]:
    """Short exchanges of different lengths."""
    return [
        Conversation(
            str(index),
            tuple(
                Message(role, f"{word} {index + turn} " * (1 + (index + turn) % 3))
                for turn in range(1 + index % 2)
                for role, word in (("user", "add"), ("assistant", "return"))
            ),
        )
        for index in range(count)
    ]


@pytest.fixture(scope="session")
def conversation_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("conversations") / "train.jsonl"
    write_conversations(path, conversations(64))
    return path


@pytest.fixture(scope="session")
def recipe(conversation_file: Path, tiny_tokenizer_file: Path) -> Recipe:
    """Twelve steps of four rows of 128 tokens, in fp32 on one device."""
    return Recipe(
        MODEL,
        DataConfig(
            (str(conversation_file),),
            str(tiny_tokenizer_file),
            "llama-2",
            holdout=0.2,
            length=128,
        ),
        TrainConfig(
            batch_size=4,
            steps=12,
            learning_rate=1e-2,
            remat="none",
            logits_chunk=32,
            log_every=3,
            checkpoint_every=5,
            evaluate_every=6,
        ),
        ComputeConfig("float32"),
    )


@pytest.fixture(scope="session")
def change():
    """Gives a recipe with other training settings."""
    return lambda recipe, **settings: replace(recipe, train=replace(recipe.train, **settings))


def random_batch(rows: int, length: int, vocab: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Packed rows of segments of random length, padded, each token one more than the last."""
    rng = np.random.default_rng(seed)
    batch = {
        "tokens": np.zeros((rows, length), np.int32),
        "positions": np.zeros((rows, length), np.int32),
        "segment_ids": np.zeros((rows, length), np.int32),
        "loss_weights": np.zeros((rows, length), np.float32),
    }
    for row in range(rows):
        start, segment = 0, 1
        while start < length - 4:
            size = min(int(rng.integers(3, length // 2)), length - start)
            place = (row, slice(start, start + size))
            batch["tokens"][place] = (rng.integers(vocab) + np.arange(size)) % vocab
            batch["positions"][place] = np.arange(size)
            batch["segment_ids"][place] = segment
            batch["loss_weights"][place] = rng.choice([0.0, 1.0, 2.0], size)
            batch["loss_weights"][row, start] = 0
            start, segment = start + size, segment + 1
    return batch
