"""StarCoder2 3B, trained by the paper's recipe.

    --config=configs/starcoder2_3b.py:v5e:4x4 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:4x4": Layout(micro_batches=4, remat="projections"),
    "v5p:2x2x2": Layout(remat="projections"),
    "v6e:2x4": Layout(micro_batches=4, remat="projections"),
    "h200:1": Layout(micro_batches=16, remat="projections", scan_layers=False),
}


def get_config(devices: str = "v5e:4x4") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("starcoder2-3b", "starcoder2", LAYOUTS, devices)
