"""The peer of `benchmarks.sample`: Hugging Face transformers' ``generate``, as JSON on stdout.

Run by `benchmarks.sample` in a process of its own.
"""

import json
import time

import torch
from absl import app, flags
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.shapes import SHAPES

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
ROWS = flags.DEFINE_integer("rows", 1, "Prompts answered at once.")
PROMPT = flags.DEFINE_integer("prompt", 128, "Tokens of a prompt.")
NEW = flags.DEFINE_integer("new", 64, "Tokens generated for each.")


def main(_) -> None:
    """Prints the seconds that answering takes, the least of three after a first time."""
    shape = SHAPES[SHAPE.value]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
    )
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa", dtype=dtype)
    model.eval()
    tokens = torch.randint(0, shape.vocab_size, (ROWS.value, PROMPT.value), device=device)
    lengths = {"min_new_tokens": NEW.value, "max_new_tokens": NEW.value}
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.inference_mode():
            mask = torch.ones_like(tokens)
            found = model.generate(
                tokens, attention_mask=mask, do_sample=False, pad_token_id=0, **lengths
            )
        found[0, -1].item()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(seconds[1:])}))


if __name__ == "__main__":
    app.run(main)
