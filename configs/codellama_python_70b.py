"""CodeLlama-Python 70B, trained by the paper's recipe.

    --config=configs/codellama_python_70b.py:v5e:16x16 --config.data.train=FILE \\
        --config.data.tokenizer=FILE --config.train.initial_checkpoint=DIR
"""

from ml_collections import ConfigDict

from configs.paper import Layout, paper_recipe

LAYOUTS = {
    "v5e:16x16": Layout(remat="attention", tensor=4),
    "v5p:4x4x4": Layout(remat="attention"),
    "v6e:16x16": Layout(remat="attention", tensor=4),
    "h200:16": Layout(micro_batches=4, remat="full"),
}


def get_config(devices: str = "v5e:16x16") -> ConfigDict:
    """The recipe on these devices."""
    return paper_recipe("codellama-70b-python", "llama-2", LAYOUTS, devices)
