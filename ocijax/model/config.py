"""The shape of a decoder-only transformer, under the field's standard names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Llama-kind decoder: RMSNorm, RoPE, grouped-query attention, SwiGLU.

    Field names follow Hugging Face's ``LlamaConfig`` so that a ``config.json`` reads across.

    Attributes:
      vocab_size: rows of the embedding table (padded size, not the tokenizer's count).
      hidden_size: width of the residual stream.
      intermediate_size: width inside the gated MLP.
      num_hidden_layers: number of decoder layers.
      num_attention_heads: query heads.
      num_key_value_heads: key and value heads; divides ``num_attention_heads``.
      head_dim: width of one head.
      max_position_embeddings: longest context, in tokens.
      rope_theta: base of the rotary frequencies (RoFormer, arXiv 2104.09864).
      rope_scaling_factor: linear scaling: positions are divided by it (DeepSeek-Coder uses 4).
      rms_norm_eps: added to the mean square before the root.
      tie_word_embeddings: the output head is the embedding table.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rope_theta: float = 10_000.0
    rope_scaling_factor: float = 1.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False

    def __post_init__(self):
        """Raises ValueError, beginning with the field, for sizes that make no decoder."""
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
            "rope_scaling_factor",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, is {getattr(self, name)}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for RoPE, is {self.head_dim}")
