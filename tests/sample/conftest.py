"""A tiny random model and conversations of many lengths."""

import jax
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import init_parameters
from ocijax.sample.sampler import Sampler
from ocijax.template import LLAMA2
from ocijax.tokenizer import SentencePieceTokenizer

CONFIG = ModelConfig(
    vocab_size=352,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=256,
)
COMPUTE = ComputeConfig(dtype="float32", remat="none", scan_layers=False)


@pytest.fixture(scope="session")
def tokenizer(tiny_sentencepiece) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(tiny_sentencepiece, "tiny")


@pytest.fixture(scope="session")
def parameters() -> dict[str, jax.Array]:
    """Larger than at the start of training, so that the likeliest token stands out."""
    fresh = init_parameters(CONFIG, jax.random.key(0))
    return {path: array if "norm" in path else 8 * array for path, array in fresh.items()}


@pytest.fixture(scope="session")
def sampler(parameters, tokenizer) -> Sampler:
    return Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, max_batch=8)


def conversation(words: int, identity: str = "") -> Conversation:
    """One question of that many words."""
    content = " ".join(f"word{index}" for index in range(words))
    return Conversation(identity or f"of {words} words", (Message("user", content),))
