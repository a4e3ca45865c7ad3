"""Qwen2.5-Coder 32B, newer than the paper, trained by its recipe.

    --config=configs/qwen2_5_coder_32b.py:v5e:16x16 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:16x16": Layout(remat="attention", tensor=4),
    "v5p:4x4x4": Layout(remat="projections"),
    "v6e:8x8": Layout(remat="attention"),
    "h200:16": Layout(micro_batches=4, remat="projections"),
}


def get_config(devices: str = "v5e:16x16") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("qwen2.5-coder-32b", "qwen2.5", LAYOUTS, devices)
