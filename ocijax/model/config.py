"""The shape of a decoder-only transformer, under the field's standard names."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched to contexts longer than those first trained on.

    Field names are those of ``rope_scaling`` in a Hugging Face ``config.json``.

    Attributes:
      rope_type: ``linear`` divides every frequency by ``factor`` (arXiv 2306.15595); ``llama3``
        divides the low ones, keeps the high ones and blends in between (arXiv 2407.21783).
      factor: the divisor.
      low_freq_factor: ``llama3``: a frequency is low that turns fewer times than this over
        ``original_max_position_embeddings``.
      high_freq_factor: ``llama3``: a frequency is high that turns more often than this.
      original_max_position_embeddings: ``llama3``: the context first trained on, in tokens.
    """

    rope_type: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_max_position_embeddings: int | None = None

    def __post_init__(self):
        """Raises ValueError, beginning with the field, where the type and the rest disagree."""
        if self.factor <= 0:
            raise ValueError(f"factor must be positive, is {self.factor}")
        for name in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"):
            value = getattr(self, name)
            if self.rope_type == "llama3" and not (value and value > 0):
                raise ValueError(f"{name} must be positive for rope_type llama3, is {value}")
            if self.rope_type != "llama3" and value is not None:
                raise ValueError(f"{name} means nothing for rope_type {self.rope_type}, is {value}")
        if self.rope_type == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor ({self.low_freq_factor}) must be less than high_freq_factor "
                f"({self.high_freq_factor})"
            )


@dataclass(frozen=True)
class ModelConfig:
    """A decoder with RoPE and grouped-query attention; by default a Llama.

    The families that people fine-tune (`ocijax.model.presets`) differ in the fields after the
    sizes. Names are Hugging Face's where its architectures agree on one, so that most of a
    ``config.json`` reads across; `ocijax.hugging_face.config` reads and writes all of it.

    Attributes:
      vocab_size: rows of the embedding table (padded size, not the tokenizer's count).
      hidden_size: width of the residual stream.
      intermediate_size: width inside the MLP.
      num_hidden_layers: number of decoder layers.
      num_attention_heads: query heads.
      num_key_value_heads: key and value heads; divides ``num_attention_heads``.
      head_dim: width of one head.
      max_position_embeddings: longest context, in tokens.
      rope_theta: base of the rotary frequencies (RoFormer, arXiv 2104.09864).
      rope_scaling: how these frequencies are stretched.
      sliding_window: a token sees this many, itself included (arXiv 2310.06825); ``None``: all.
      norm: ``rms_norm`` (arXiv 1910.07467), or ``layer_norm`` (arXiv 1607.06450) with a bias.
      norm_eps: added to the mean square, or the variance, before the root.
      norm_unit_offset: norms scale by one more than their weight.
      hidden_act: activation of the MLP.
      gated_mlp: the activation of one projection gates another (arXiv 2002.05202); otherwise
        there is one only.
      query_key_norm: queries and keys of each head pass a norm before they are rotated.
      query_key_value_bias: the projections to queries, keys and values have biases.
      attention_output_bias: so has the projection of attention's output.
      mlp_bias: so have those of the MLP.
      scale_embedding: embeddings are multiplied by the root of ``hidden_size``.
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
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    norm: Literal["rms_norm", "layer_norm"] = "rms_norm"
    norm_eps: float = 1e-6
    norm_unit_offset: bool = False
    hidden_act: Literal["silu", "gelu_pytorch_tanh"] = "silu"
    gated_mlp: bool = True
    query_key_norm: bool = False
    query_key_value_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    scale_embedding: bool = False
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
            "rope_theta",
            "norm_eps",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, is {getattr(self, name)}")
        if self.sliding_window is not None and self.sliding_window <= 0:
            raise ValueError(f"sliding_window must be positive or None, is {self.sliding_window}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for RoPE, is {self.head_dim}")
