"""Writes families.npz: logits, greedy tokens and gradients of tiny models, by transformers.

    python -m tests.golden.make_families        # needs torch and transformers

The models are those of `tests.golden.families.VARIANTS`; the tests compute the same values live
where torch and transformers are installed.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.golden.families import (
    FILE,
    NEW_TOKENS,
    PROMPT,
    SHAPE,
    VARIANTS,
    Reference,
    summary,
    texts,
    weight,
)


def make_model(config: dict) -> PreTrainedModel:
    """A model in fp32 with the weights that follow from its tensors' names."""
    config = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
    return model.float().eval()


def compute_reference(variant: str) -> Reference:
    """The reference values of one variant."""
    model = make_model({**SHAPE, **VARIANTS[variant]})
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_text())
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    loss = torch.zeros(())
    logits = []
    for tokens, weights in texts():
        tokens = torch.from_numpy(tokens).long()
        logits.append(model(tokens[None]).logits[0])
        losses = torch.nn.functional.cross_entropy(logits[-1][:-1], tokens[1:], reduction="none")
        loss = loss + (losses * torch.from_numpy(weights)[1:]).sum()
    loss.backward()
    parameters = dict(model.named_parameters())
    answers, log_probabilities = zip(
        *(greedy(model, tokens[:PROMPT]) for tokens, _ in texts()), strict=True
    )
    return Reference(
        config,
        shapes,
        [one.detach().numpy() for one in logits],
        list(answers),
        list(log_probabilities),
        loss.item(),
        np.stack([summary(parameters[name].grad.numpy()) for name in shapes]),
    )


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest tokens after a prompt, each by a forward over all before it; how likely."""
    tokens, log_probabilities = torch.from_numpy(prompt).long(), []
    for _ in range(NEW_TOKENS):
        last = model(tokens[None], use_cache=False).logits[0, -1]
        first, second = last.topk(2).values
        assert first - second > 1e-3, "two tokens are about as likely: choose another seed"
        tokens = torch.cat([tokens, last.argmax()[None]])
        log_probabilities.append(last.log_softmax(-1).max().item())
    return tokens[len(prompt) :].numpy().astype(np.int32), np.float32(log_probabilities)


def main() -> None:
    """Computes every variant and writes the file beside this script."""
    arrays = {}
    for variant in VARIANTS:
        arrays |= compute_reference(variant).arrays(variant)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
