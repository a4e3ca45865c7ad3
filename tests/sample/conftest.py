"""A tiny random model and conversations of many lengths."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise

import jax
import jax.numpy as jnp
import pytest
from jax._src.pallas.mosaic_gpu.interpret.params import force_gpu_interpret_mode

from ocijax.conversation import Conversation, Message
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import init_parameters
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2
from ocijax.tokenizer import SentencePieceTokenizer
from tests.sample.emulated_cudnn import emulate_cudnn
from tests.sample.emulated_mosaic import emulate_mosaic

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
COMPUTE = ComputeConfig(dtype="float32", scan_layers=False)


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
    return Sampler(CONFIG, parameters, tokenizer, LLAMA2, compute=COMPUTE, slots=4)


@pytest.fixture
def cudnn(monkeypatch) -> None:
    """cuDNN's attention, on a CPU as JAX computes it."""
    if jax.default_backend() == "cpu":
        emulate_cudnn(monkeypatch)


@pytest.fixture
def mosaic(monkeypatch) -> Iterator[None]:
    """Kernels of Mosaic GPU, on a CPU by JAX's interpreter."""
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu:
        emulate_mosaic(monkeypatch)
    with force_gpu_interpret_mode() if on_cpu else nullcontext():
        yield


class Bytes:
    """A tokenizer of UTF-8 bytes; the special tokens follow them."""

    BEGIN, END = 256, 257
    name, vocab_size, text_prefix = "bytes", 258, ""

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(index for index in ids if index < 256).decode(errors="replace")

    def special_id(self, token):
        return {"<s>": self.BEGIN, "</s>": self.END}.get(token)


def writer(text: str) -> dict[str, jax.Array]:
    """A model over `Bytes` that answers a Llama-2 prompt with ``text``, whose bytes are distinct.

    Its layers add nothing, and each byte's embedding is the head of the byte that follows.
    """
    parameters = init_parameters(CONFIG, jax.random.key(0))
    for path in ("layers/output", "layers/down"):
        parameters[path] = jnp.zeros_like(parameters[path])
    embedding = jax.random.rademacher(jax.random.key(1), parameters["embedding"].shape, jnp.float32)
    head = jnp.zeros_like(parameters["head"])
    for before, after in pairwise([ord("]"), *text.encode(), Bytes.END]):
        head = head.at[:, after].set(embedding[before])
    return {**parameters, "embedding": embedding, "head": head}


def conversation(words: int, identity: str = "") -> Conversation:
    """One question of that many words."""
    content = " ".join(f"word{index}" for index in range(words))
    return Conversation(identity or f"of {words} words", (Message("user", content),))


RAGGED = [conversation(words) for words in (1, 2, 5, 9, 14, 3, 20, 7, 11, 30, 4)]
GREEDY = SamplingSettings(max_new_tokens=24)
DRAWN = SamplingSettings(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=3)
