"""Floating-point operations of training, counted from the shape.

The convention behind every MFU (arXiv 2204.02311, appendix B) that we print: what the model needs
and nothing else. Attention is causal and counted per segment, padding and recomputation are not
counted, and a backward pass is twice a forward.
"""

from ocijax.model.config import ModelConfig
from ocijax.model.parameters import parameter_table


def training_flops(
    config: ModelConfig, tokens: float, attended: float, adapter_size: int = 0
) -> float:
    """Operations of one forward and backward.

    Args:
      config: the model.
      tokens: number of tokens, padding left out.
      attended: pairs of a token and one that it sees, itself included; ``length²/2`` in a row of
        one segment, about.
      adapter_size: parameters of the adapter that is trained instead of the model's, whose own
        gradients are then not needed.
    """
    table = parameter_table(config)
    matrices = sum(spec.size for path, spec in table.items() if spec.inputs)
    if config.tie_word_embeddings:
        matrices += table["embedding"].size
    heads = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    # Two products a pair in attention, one a parameter in matrices; two operations in each.
    attention = 3 * 4 * heads * attended
    if adapter_size:
        return (2 * 2 * matrices + 3 * 2 * adapter_size) * tokens + attention
    return 3 * 2 * matrices * tokens + attention
