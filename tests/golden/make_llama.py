"""Writes llama.npz: logits and gradients of tiny Llamas, computed by transformers.

    python tests/golden/make_llama.py        # needs torch and transformers

For each variant (tied and untied head, both with grouped-query attention and linear RoPE scaling)
the file holds the weights under their Hugging Face names, the logits of three texts of different
lengths, each run alone, and the gradients of the summed loss of the tokens that count.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

LENGTHS = (5, 17, 11)
SHAPE = {
    "vocab_size": 48,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
}


def main() -> None:
    """Runs both variants and writes the file beside this script."""
    arrays = {}
    rng = np.random.default_rng(0)
    for index, length in enumerate(LENGTHS):
        arrays[f"tokens/{index}"] = rng.integers(0, SHAPE["vocab_size"], length).astype(np.int32)
        # Some tokens count twice, some not at all, and nothing predicts the first.
        weights = rng.choice([0.0, 1.0, 2.0], length).astype(np.float32)
        weights[0] = 0
        arrays[f"weights/{index}"] = weights
    for name, tied in (("tied", True), ("untied", False)):
        torch.manual_seed(1)
        config = LlamaConfig(
            **SHAPE,
            rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0},
            tie_word_embeddings=tied,
            attn_implementation="eager",
        )
        model = LlamaForCausalLM(config).float()
        with torch.no_grad():
            for parameter in model.parameters():
                # Larger than a fresh model's, so that attention is far from uniform.
                parameter.add_(0.2 * torch.randn_like(parameter))
        loss = torch.zeros(())
        for index in range(len(LENGTHS)):
            tokens = torch.from_numpy(arrays[f"tokens/{index}"]).long()
            weights = torch.from_numpy(arrays[f"weights/{index}"])
            logits = model(tokens[None]).logits[0]
            arrays[f"{name}/logits/{index}"] = logits.detach().numpy()
            losses = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
            loss = loss + (losses * weights[1:]).sum()
        loss.backward()
        arrays[f"{name}/loss"] = loss.detach().numpy()
        for path, parameter in model.named_parameters():
            arrays[f"{name}/parameters/{path}"] = parameter.detach().numpy()
            arrays[f"{name}/gradients/{path}"] = parameter.grad.numpy()
    np.savez_compressed(Path(__file__).with_name("llama.npz"), **arrays)


if __name__ == "__main__":
    main()
