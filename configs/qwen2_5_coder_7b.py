"""Qwen2.5-Coder 7B, newer than the paper, trained by its recipe.

    --config=configs/qwen2_5_coder_7b.py:v5e:8x8 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:8x8": Layout(remat="attention"),
    "v5p:2x4x4": Layout(remat="projections"),
    "v6e:4x4": Layout(micro_batches=4, remat="projections"),
    "h200:8": Layout(micro_batches=2, remat="projections", scan_layers=False),
}


def get_config(devices: str = "v5e:8x8") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("qwen2.5-coder-7b", "qwen2.5", LAYOUTS, devices)
