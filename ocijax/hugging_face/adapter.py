"""The settings of an adapter, as PEFT reads them (https://github.com/huggingface/peft)."""

from pathlib import Path

from ocijax.hugging_face.tensors import write_json
from ocijax.model.config import ModelConfig
from ocijax.model.description import AdapterDescription
from ocijax.model.lora import adapted_weights

FILE = "adapter_config.json"


def write_adapter_config(folder: Path, config: ModelConfig, adapter: AdapterDescription) -> None:
    """Writes ``adapter_config.json``.

    Args:
      folder: there already.
      config: shape of the model that is adapted.
      adapter: its weights; the model's folder is named as it is there, for PEFT to find.
    """
    weights = adapted_weights(config, adapter.lora).values()
    modules = {spec.hugging_face.removesuffix(".weight").rpartition(".")[2] for spec in weights}
    write_json(
        folder / FILE,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": adapter.base,
            "r": adapter.lora.rank,
            "lora_alpha": adapter.lora.alpha,
            "lora_dropout": 0.0,
            "target_modules": sorted(modules),
            "bias": "none",
            "fan_in_fan_out": False,
            "use_rslora": False,
            "use_dora": False,
            "inference_mode": True,
        },
    )
