"""A small transformer that learns to write, run and repair small programs on two CPU cores.

    python -m launch.quickstart --workdir=runs/quickstart

makes the data below and trains by this recipe; so does, once the data is there,

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart/seed-0/train
"""

from ml_collections import ConfigDict

from configs.base import recipe
from ocijax.model.config import ModelConfig

DATA = "runs/quickstart/seed-0/data"


def get_config() -> ConfigDict:
    """The recipe."""
    return recipe(
        ModelConfig(
            vocab_size=640,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=1024,
        ),
        data={
            "train": f"{DATA}/conversations/train.jsonl",
            "tokenizer": f"{DATA}/tokenizer.model",
            "template": "llama-2",
            "evaluation": f"{DATA}/conversations/validation.jsonl",
            "length": 256,
        },
        train={
            "batch_size": 8,
            "steps": 1300,
            "learning_rate": 3e-3,
            "weight_decay": 0.1,
            "remat": "none",
            "logits_chunk": 256,
            "log_every": 20,
            "evaluate_every": 325,
            "checkpoint_every": 325,
            "checkpoints_kept": 1,
        },
        compute={"dtype": "float32", "scan_layers": False},
    )
