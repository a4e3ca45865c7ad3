"""Shapes of published models by name; any other size comes from its own ``config.json``.

Names are those of the repositories on the Hugging Face Hub, in small letters and without the
organisation. Variants of a name that share a shape (base, instruct) share an entry.
"""

import difflib
from dataclasses import replace

from ocijax.errors import InputError
from ocijax.model.config import ModelConfig, RopeScaling


def get_preset(name: str) -> ModelConfig:
    """The shape of a published model.

    Example::

      config = get_preset("deepseek-coder-6.7b")

    Raises:
      InputError: there is none of that name; the nearest one is named.
    """
    if name not in PRESETS:
        (near,) = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.0)
        raise InputError(f"model {name!r} has no preset; did you mean {near!r}?")
    return PRESETS[name]


def _llama(
    hidden: int, inner: int, layers: int, heads: int, key_value_heads: int, **rest
) -> ModelConfig:
    return ModelConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=hidden // heads,
        **rest,
    )


def _code_llama(*sizes: int, vocab_size: int) -> ModelConfig:
    context = {"max_position_embeddings": 16384, "rope_theta": 1e6}
    return _llama(*sizes, vocab_size=vocab_size, norm_eps=1e-5, **context)


def _deepseek_coder(*sizes: int) -> ModelConfig:
    return _llama(
        *sizes,
        vocab_size=32256,
        max_position_embeddings=16384,
        rope_theta=100_000.0,
        rope_scaling=RopeScaling("linear", 4.0),
        norm_eps=1e-6,
    )


def _starcoder2(*sizes: int, rope_theta: float, tied: bool) -> ModelConfig:
    return _llama(
        *sizes,
        vocab_size=49152,
        max_position_embeddings=16384,
        rope_theta=rope_theta,
        sliding_window=4096,
        norm="layer_norm",
        norm_eps=1e-5,
        hidden_act="gelu_pytorch_tanh",
        gated_mlp=False,
        query_key_value_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        tie_word_embeddings=tied,
    )


def _gemma(*sizes: int) -> ModelConfig:
    shape = _llama(
        *sizes,
        vocab_size=256000,
        max_position_embeddings=8192,
        norm_eps=1e-6,
        norm_unit_offset=True,
        hidden_act="gelu_pytorch_tanh",
        scale_embedding=True,
        tie_word_embeddings=True,
    )
    return replace(shape, head_dim=256)


def _qwen2_5_coder(*sizes: int, vocab_size: int, norm_eps: float, tied: bool) -> ModelConfig:
    return _llama(
        *sizes,
        vocab_size=vocab_size,
        max_position_embeddings=32768,
        rope_theta=1e6,
        norm_eps=norm_eps,
        query_key_value_bias=True,
        tie_word_embeddings=tied,
    )


def _qwen3(*sizes: int, tied: bool) -> ModelConfig:
    shape = _llama(
        *sizes,
        vocab_size=151936,
        max_position_embeddings=40960,
        rope_theta=1e6,
        norm_eps=1e-6,
        query_key_norm=True,
        tie_word_embeddings=tied,
    )
    return replace(shape, head_dim=128)


_CODE_LLAMA_7B = _code_llama(4096, 11008, 32, 32, 32, vocab_size=32016)
_CODE_LLAMA_13B = _code_llama(5120, 13824, 40, 40, 40, vocab_size=32016)
_CODE_LLAMA_34B = _code_llama(8192, 22016, 48, 64, 8, vocab_size=32000)
_CODE_LLAMA_70B = _code_llama(8192, 28672, 80, 64, 8, vocab_size=32016)
# Of the 70B only the base has seen long contexts (github.com/meta-llama/codellama/issues/188).
_CODE_LLAMA_70B_SHORT = replace(_CODE_LLAMA_70B, rope_theta=1e4, max_position_embeddings=4096)
_GEMMA_2B = _gemma(2048, 16384, 18, 8, 1)
_GEMMA_7B = _gemma(3072, 24576, 28, 16, 16)

PRESETS: dict[str, ModelConfig] = {
    "codellama-7b": _CODE_LLAMA_7B,
    "codellama-7b-python": replace(_CODE_LLAMA_7B, vocab_size=32000),
    "codellama-7b-instruct": _CODE_LLAMA_7B,
    "codellama-13b": _CODE_LLAMA_13B,
    "codellama-13b-python": replace(_CODE_LLAMA_13B, vocab_size=32000),
    "codellama-13b-instruct": _CODE_LLAMA_13B,
    "codellama-34b": _CODE_LLAMA_34B,
    "codellama-34b-python": _CODE_LLAMA_34B,
    "codellama-34b-instruct": _CODE_LLAMA_34B,
    "codellama-70b": _CODE_LLAMA_70B,
    "codellama-70b-python": _CODE_LLAMA_70B_SHORT,
    "codellama-70b-instruct": _CODE_LLAMA_70B_SHORT,
    "deepseek-coder-1.3b": _deepseek_coder(2048, 5504, 24, 16, 16),
    "deepseek-coder-6.7b": _deepseek_coder(4096, 11008, 32, 32, 32),
    "deepseek-coder-33b": _deepseek_coder(7168, 19200, 62, 56, 8),
    "llama-3.1-8b": _llama(
        *(4096, 14336, 32, 32, 8),
        vocab_size=128256,
        max_position_embeddings=131072,
        rope_theta=500_000.0,
        rope_scaling=RopeScaling("llama3", 8.0, 1.0, 4.0, 8192),
        norm_eps=1e-5,
    ),
    "starcoder2-3b": _starcoder2(3072, 12288, 30, 24, 2, rope_theta=999999.4420358813, tied=True),
    "starcoder2-7b": _starcoder2(4608, 18432, 32, 36, 4, rope_theta=1e6, tied=True),
    "starcoder2-15b": _starcoder2(6144, 24576, 40, 48, 4, rope_theta=1e5, tied=False),
    "gemma-2b": _GEMMA_2B,
    "gemma-7b": _GEMMA_7B,
    "codegemma-2b": _GEMMA_2B,
    "codegemma-7b": _GEMMA_7B,
    "codegemma-7b-it": _GEMMA_7B,
    **{
        f"qwen2.5-coder-{size}": _qwen2_5_coder(
            *sizes, vocab_size=vocab_size, norm_eps=norm_eps, tied=tied
        )
        for size, sizes, vocab_size, norm_eps, tied in (
            ("0.5b", (896, 4864, 24, 14, 2), 151936, 1e-6, True),
            ("1.5b", (1536, 8960, 28, 12, 2), 151936, 1e-6, True),
            ("3b", (2048, 11008, 36, 16, 2), 151936, 1e-6, True),
            ("7b", (3584, 18944, 28, 28, 4), 152064, 1e-6, False),
            ("14b", (5120, 13824, 48, 40, 8), 152064, 1e-5, False),
            ("32b", (5120, 27648, 64, 40, 8), 152064, 1e-5, False),
        )
    },
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, 8, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, 8, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, 8, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, 8, tied=False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, 8, tied=False),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, 8, tied=False),
}
"""By name. Sources: the configurations of litgpt, MaxText and TensorRT-LLM, which copy the Hub's,
and for the sizes of DeepSeek-Coder 33B github.com/arcee-ai/mergekit/issues/143."""
