"""A LoRA adapter of DeepSeek-Coder 6.7B, of rank 32 on all matrices of the layers.

    --config=configs/deepseek_coder_6_7b_lora.py:h200:1 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:4x4": Layout(micro_batches=2, remat="attention"),
    "v5p:2x2x1": Layout(micro_batches=4, remat="projections"),
    "v6e:2x4": Layout(micro_batches=8, remat="projections"),
    "h200:1": Layout(micro_batches=16, remat="none", scan_layers=False),
}


def get_config(devices: str = "v5e:4x4") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe(
        "deepseek-coder-6.7b", "deepseek-coder", LAYOUTS, devices, lora={"rank": 32, "alpha": 32.0}
    )
