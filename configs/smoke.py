"""A tiny model on real conversations with the DeepSeek-Coder tokenizer: does everything run?

    python -m launch.train --config=configs/smoke.py --workdir=runs/smoke \\
        --config.data.train=FILE --config.data.tokenizer=tokenizer.json
"""

from ml_collections import ConfigDict

from configs.base import recipe
from ocijax.model.config import ModelConfig, RopeScaling


def get_config() -> ConfigDict:
    """The recipe."""
    return recipe(
        ModelConfig(
            vocab_size=32256,
            hidden_size=64,
            intermediate_size=176,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=16384,
            rope_theta=100_000.0,
            rope_scaling=RopeScaling("linear", 4.0),
            tie_word_embeddings=True,
        ),
        data={"template": "deepseek-coder", "holdout": 0.02, "length": 1024},
        train={
            "batch_size": 4,
            "steps": 50,
            "learning_rate": 1e-3,
            "remat": "none",
            "logits_chunk": 128,
            "log_every": 5,
            "evaluate_every": 25,
            "checkpoint_every": 25,
        },
        compute={"dtype": "float32"},
    )
