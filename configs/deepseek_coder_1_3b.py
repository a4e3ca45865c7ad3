"""DeepSeek-Coder 1.3B, trained by the paper's recipe.

    --config=configs/deepseek_coder_1_3b.py:v5e:4x4 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:4x4": Layout(micro_batches=2, remat="projections"),
    "v5p:2x2x2": Layout(remat="projections"),
    "v6e:2x4": Layout(micro_batches=2, remat="projections"),
    "h200:1": Layout(micro_batches=8, remat="none", scan_layers=False),
}


def get_config(devices: str = "v5e:4x4") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("deepseek-coder-1.3b", "deepseek-coder", LAYOUTS, devices)
