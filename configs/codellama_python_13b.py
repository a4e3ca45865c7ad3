"""CodeLlama-Python 13B, trained by the paper's recipe.

    --config=configs/codellama_python_13b.py:v5e:8x8 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:8x8": Layout(remat="attention"),
    "v5p:4x4x4": Layout(remat="projections"),
    "v6e:4x4": Layout(micro_batches=4, remat="attention"),
    "h200:8": Layout(micro_batches=4, remat="projections", scan_layers=False),
}


def get_config(devices: str = "v5e:8x8") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("codellama-13b-python", "llama-2", LAYOUTS, devices)
