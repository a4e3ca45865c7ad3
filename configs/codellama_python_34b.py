"""CodeLlama-Python 34B, trained by the paper's recipe.

    --config=configs/codellama_python_34b.py:v5e:16x16 --config.data.train=FILE \\
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
    return paper_recipe("codellama-34b-python", "llama-2", LAYOUTS, devices)
