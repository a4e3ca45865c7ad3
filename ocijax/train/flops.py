"""Floating-point operations of training, counted from the shape.

The convention behind every MFU (arXiv 2204.02311, appendix B) that we print: what the model needs
and nothing else. Attention is causal and counted per segment, padding and recomputation are not
counted, and a backward pass is twice a forward, but for matrices that are not trained: of these it
takes no gradient.
"""

from collections.abc import Mapping

from ocijax.model.config import ModelConfig
from ocijax.model.parameters import ParameterSpec, parameter_table


def training_flops(
    config: ModelConfig,
    tokens: float,
    attended: float,
    trained: Mapping[str, ParameterSpec] | None = None,
) -> float:
    """Operations of one forward and backward.

    Args:
      config: the model.
      tokens: number of tokens, padding left out.
      attended: pairs of a token and one that it sees, itself included; ``length²/2`` in a row of
        one segment, about.
      trained: of the model's parameters, or of an adapter beside them; by default all of the
        model's.
    """
    model = parameter_table(config)
    trained = model if trained is None else trained
    head = "embedding" if config.tie_word_embeddings else "head"
    matrices = {
        path: spec.size
        for path, spec in {**model, **trained}.items()
        if spec.inputs or path == head
    }
    heads = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    # Two products a pair in attention, one a parameter in matrices; two operations in each.
    attention = 3 * 4 * heads * attended
    products = sum(size * (3 if path in trained else 2) for path, size in matrices.items())
    return 2 * products * tokens + attention
