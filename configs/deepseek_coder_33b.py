"""DeepSeek-Coder 33B, trained by the paper's recipe.

    --config=configs/deepseek_coder_33b.py:v5e:16x16 --config.data.train=FILE \\
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
    return paper_recipe("deepseek-coder-33b", "deepseek-coder", LAYOUTS, devices)
