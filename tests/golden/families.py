"""What `make_families` and the tests share: tiny models, their weights, texts.

Weights follow from their names alone, so that the file of reference values need not hold them.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("families.npz")

SHAPE = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}

LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0}
# Of the four frequencies of a head one stays, one is blended and two are divided.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 100.0,
}
WINDOW = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0}

# torch gives the embedding of a padding token no gradient; our texts use every token.
NO_PADDING = {"pad_token_id": None}

VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_parameters": LINEAR},
    "llama-tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama-all-heads": {"model_type": "llama", "num_key_value_heads": 4, "rms_norm_eps": 1e-5},
    "llama-biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama-3.1": {"model_type": "llama", "rope_parameters": LLAMA3, "head_dim": 8},
    "starcoder2": {"model_type": "starcoder2", "sliding_window": 6},
    "starcoder2-untied": {"model_type": "starcoder2", "tie_word_embeddings": False},
    "starcoder2-no-biases": {
        "model_type": "starcoder2",
        "use_bias": False,
        "num_key_value_heads": 4,
    },
    "gemma": {"model_type": "gemma", "head_dim": 16, "num_key_value_heads": 4, **NO_PADDING},
    "gemma-one-key": {
        "model_type": "gemma",
        "head_dim": 16,
        "num_key_value_heads": 1,
        **NO_PADDING,
    },
    "qwen2": {"model_type": "qwen2"},
    "qwen2-tied": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2-window": {"model_type": "qwen2", "num_key_value_heads": 4, **WINDOW},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "qwen3-tied": {"model_type": "qwen3", "head_dim": 8, "tie_word_embeddings": True},
    "qwen3-window": {
        "model_type": "qwen3",
        "head_dim": 16,
        "num_key_value_heads": 4,
        "attention_bias": True,
        **WINDOW,
    },
}
"""Fields of each model's configuration class, beside those of `SHAPE`."""

LENGTHS = (5, 17, 40)
PROMPT = 12
"""Tokens of a text that greedy decoding goes on from, or all where there are fewer."""
NEW_TOKENS = 64
_SAMPLED = 31
_SEED = 5
"""With these weights no two tokens are about as likely wherever greedy decoding comes along."""


@dataclass(frozen=True)
class Reference:
    """What transformers computes for one variant.

    Attributes:
      config: its ``config.json``.
      shapes: of the tensors that it saves, by name.
      logits: ``[length, vocab]`` of each text alone.
      greedy: ``[64]`` tokens after each prompt.
      log_probabilities: ``[64]`` of these tokens.
      loss: the summed loss of the tokens that count, over all texts.
      gradients: `summary` of its gradient by each tensor, in the order of ``shapes``.
    """

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    logits: list[np.ndarray]
    greedy: list[np.ndarray]
    log_probabilities: list[np.ndarray]
    loss: float
    gradients: np.ndarray

    def arrays(self, variant: str) -> dict[str, np.ndarray]:
        """Its part of the file; `read_reference` is the inverse."""
        words = json.dumps({"config": self.config, "shapes": self.shapes})
        return {
            f"{variant}/words": np.array(words),
            f"{variant}/logits": np.concatenate(self.logits),
            f"{variant}/greedy": np.stack(self.greedy),
            f"{variant}/log_probabilities": np.stack(self.log_probabilities),
            f"{variant}/loss": np.array(self.loss),
            f"{variant}/gradients": self.gradients,
        }


def read_reference(variant: str) -> Reference:
    """The values of the file."""
    with np.load(FILE) as file:
        words = json.loads(str(file[f"{variant}/words"]))
        return Reference(
            words["config"],
            {name: tuple(shape) for name, shape in words["shapes"].items()},
            np.split(file[f"{variant}/logits"], np.cumsum(LENGTHS)[:-1]),
            list(file[f"{variant}/greedy"]),
            list(file[f"{variant}/log_probabilities"]),
            float(file[f"{variant}/loss"]),
            file[f"{variant}/gradients"],
        )


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of a checkpoint; large enough that attention is far from uniform."""
    draw = np.random.default_rng(zlib.crc32(name.encode(), _SEED)).random(shape, np.float32)
    return draw - np.float32(0.5) + np.float32("norm" in name and name.endswith("weight"))


def texts() -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens, int32, and their weights in the loss, float32."""
    rng = np.random.default_rng(0)
    drawn = []
    for length in LENGTHS:
        tokens = rng.integers(0, SHAPE["vocab_size"], length).astype(np.int32)
        # Some tokens count twice, some not at all, and nothing predicts the first.
        weights = rng.integers(0, 3, length).astype(np.float32)
        weights[0] = 0
        drawn.append((tokens, weights))
    return drawn


def summary(tensor: np.ndarray) -> np.ndarray:
    """Some values of a tensor, evenly spread, and its norm: small enough to keep in a file."""
    flat = np.asarray(tensor, np.float32).reshape(-1)
    places = np.linspace(0, flat.size - 1, _SAMPLED).astype(int)
    return np.append(flat[places], np.linalg.norm(flat))
