"""Writes presets.json: parameters of each preset as transformers counts them, allocating none.

python -m tests.golden.make_presets        # needs torch and transformers
"""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ocijax.hugging_face.config import write_config
from ocijax.model.presets import PRESETS

FILE = Path(__file__).with_name("presets.json")


def count_parameters(name: str) -> int:
    """Parameters of the model that transformers makes of our ``config.json``."""
    with torch.device("meta"):
        config = AutoConfig.for_model(**write_config(PRESETS[name]))
        return sum(one.numel() for one in AutoModelForCausalLM.from_config(config).parameters())


def main() -> None:
    """Counts every preset and writes the file beside this script."""
    counts = {name: count_parameters(name) for name in PRESETS}
    FILE.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()
