"""A tiny model on real conversations with the DeepSeek-Coder tokenizer: does everything run?

    python -m launch.train --config=configs/smoke.py --workdir=runs/smoke \\
        --config.data.train=FILE --config.data.tokenizer=tokenizer.json
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe; every field can be overridden by a flag."""
    return ConfigDict(
        {
            "seed": 0,
            "model": {
                "vocab_size": 32256,
                "hidden_size": 64,
                "intermediate_size": 176,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "max_position_embeddings": 16384,
                "rope_theta": 100_000.0,
                "rope_scaling": {"rope_type": "linear", "factor": 4.0},
                "norm_eps": 1e-6,
                "tie_word_embeddings": True,
            },
            "data": {
                "train": "",
                "tokenizer": "",
                "template": "deepseek-coder",
                "evaluation": "",
                "holdout": 0.02,
                "length": 1024,
                "policy": "all",
                "repeated_user": "refuse",
            },
            "train": {
                "batch_size": 4,
                "micro_batches": 1,
                "epochs": 1,
                "steps": 50,
                "learning_rate": 1e-3,
                "warmup_fraction": 0.05,
                "b1": 0.9,
                "b2": 0.95,
                "epsilon": 1e-8,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
                "freeze_embedding": False,
                "remat": "none",
                "logits_chunk": 128,
                "log_every": 5,
                "evaluate_every": 25,
                "checkpoint_every": 25,
                "checkpoints_kept": 2,
                "initial_checkpoint": "",
                "peak_flops": 0.0,
            },
            "compute": {
                "dtype": "float32",
                "attention": "auto",
                "max_segments": 16,
                "scan_layers": True,
            },
            "mesh": {"data": -1, "fsdp": 1, "context": 1, "tensor": 1},
            "lora": {"rank": 0, "alpha": 32.0, "targets": ""},
        }
    )
