"""The peer of `benchmarks.train`: Hugging Face transformers' training step, as JSON on stdout.

Run by `benchmarks.train` in a process of its own, so that neither holds the other's memory. Rows
hold one segment: transformers' own attention does not keep packed conversations apart.
"""

import importlib.util
import json
import time

import torch
from absl import app, flags
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.shapes import SHAPES

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
LAYERS = flags.DEFINE_integer("layers", 0, "Layers, where not all of the shape's.")
ROWS = flags.DEFINE_integer("rows", 8, "Rows a step.")
LENGTH = flags.DEFINE_integer("length", 1024, "Tokens of a row.")
STEPS = flags.DEFINE_integer("steps", 5, "Steps timed, after two that warm up.")
PARTS = flags.DEFINE_integer("micro_batches", 1, "Parts that the rows are run in.")
CHECKPOINTING = flags.DEFINE_bool("checkpointing", False, "Compute each layer again.")


def main(_) -> None:
    """Prints the median seconds of a step."""
    shape = SHAPES[SHAPE.value]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=LAYERS.value or shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
        use_cache=False,
    )
    if device == "cuda" and importlib.util.find_spec("liger_kernel"):
        liger = importlib.import_module("liger_kernel.transformers")
        liger.apply_liger_kernel_to_llama()
    with torch.device(device):
        model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    model.train()
    if CHECKPOINTING.value:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=device == "cuda")
    tokens = torch.randint(0, shape.vocab_size, (ROWS.value, LENGTH.value), device=device)
    seconds, waiting = [], None
    start = time.perf_counter()
    for _ in range(STEPS.value + 3):
        for part in tokens.chunk(PARTS.value):
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = model(input_ids=part, labels=part).loss / PARTS.value
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if waiting is not None:  # one step late, as `benchmarks.train` does
            waiting.item()
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        waiting = loss.detach()
    timed = sorted(seconds[2:])
    print(json.dumps({"seconds": timed[len(timed) // 2]}))


if __name__ == "__main__":
    app.run(main)
