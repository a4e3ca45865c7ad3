"""A small transformer that learns to write, run and repair small programs on two CPU cores.

    python -m launch.quickstart --workdir=runs/quickstart

makes the data below and trains by this recipe; so does, once the data is there,

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart/seed-0/train
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe; every field can be overridden by a flag."""
    return ConfigDict(
        {
            "seed": 0,
            "model": {
                "vocab_size": 640,
                "hidden_size": 128,
                "intermediate_size": 352,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
                "head_dim": 32,
                "max_position_embeddings": 1024,
                "rope_theta": 10_000.0,
                "norm_eps": 1e-6,
                "tie_word_embeddings": False,
            },
            "data": {
                "train": "runs/quickstart/seed-0/data/conversations/train.jsonl",
                "tokenizer": "runs/quickstart/seed-0/data/tokenizer.model",
                "template": "llama-2",
                "evaluation": "runs/quickstart/seed-0/data/conversations/validation.jsonl",
                "holdout": 0.0,
                "length": 256,
                "policy": "all",
                "repeated_user": "refuse",
            },
            "train": {
                "batch_size": 8,
                "micro_batches": 1,
                "epochs": 1,
                "steps": 1300,
                "learning_rate": 3e-3,
                "warmup_fraction": 0.05,
                "b1": 0.9,
                "b2": 0.95,
                "epsilon": 1e-8,
                "weight_decay": 0.1,
                "clip_norm": 1.0,
                "freeze_embedding": False,
                "remat": "none",
                "logits_chunk": 256,
                "log_every": 20,
                "evaluate_every": 325,
                "checkpoint_every": 325,
                "checkpoints_kept": 1,
                "initial_checkpoint": "",
                "peak_flops": 0.0,
            },
            "compute": {
                "dtype": "float32",
                "attention": "auto",
                "max_segments": 16,
                "scan_layers": False,
            },
            "mesh": {"data": -1, "fsdp": 1, "context": 1, "tensor": 1},
            "lora": {"rank": 0, "alpha": 32.0, "targets": ""},
        }
    )
