"""DeepSeek-Coder 1.3B on conversations, with the hyper-parameters of the OpenCodeInterpreter paper.

The paper (arXiv 2402.14658) states epochs, learning rate, warm-up and length; the rest is ours.
Give the data, tokenizer and the converted base model on the command line:

    --config.data.train=FILE --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe; every field can be overridden by a flag."""
    return ConfigDict(
        {
            "seed": 0,
            "model": {
                "vocab_size": 32256,
                "hidden_size": 2048,
                "intermediate_size": 5504,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
                "head_dim": 128,
                "max_position_embeddings": 16384,
                "rope_theta": 100_000.0,
                "rope_scaling": {"rope_type": "linear", "factor": 4.0},
                "norm_eps": 1e-6,
                "tie_word_embeddings": False,
            },
            "data": {
                "train": "",
                "tokenizer": "",
                "template": "deepseek-coder",
                "evaluation": "",
                "holdout": 0.0,
                "length": 4096,
                "policy": "all",
                "repeated_user": "refuse",
            },
            "train": {
                "batch_size": 64,
                "micro_batches": 1,
                "epochs": 3,
                "steps": 0,
                "learning_rate": 2e-5,
                "warmup_fraction": 0.05,
                "b1": 0.9,
                "b2": 0.95,
                "epsilon": 1e-8,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
                "freeze_embedding": False,
                "remat": "full",
                "logits_chunk": 512,
                "log_every": 10,
                "evaluate_every": 200,
                "checkpoint_every": 200,
                "checkpoints_kept": 2,
                "initial_checkpoint": "",
                "peak_flops": 0.0,
            },
            "compute": {
                "dtype": "bfloat16",
                "attention": "auto",
                "max_segments": 16,
                "scan_layers": True,
            },
            "mesh": {"data": 1, "fsdp": -1, "context": 1, "tensor": 1},
            "lora": {"rank": 0, "alpha": 32.0, "targets": ""},
        }
    )
