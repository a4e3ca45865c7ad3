"""The model shapes that the benchmarks run, by name."""

from ocijax.model.config import ModelConfig

SHAPES = {
    # Small enough for two processor cores.
    "tiny": ModelConfig(512, 128, 384, 3, 4, 4, 32, 4096),
    # DeepSeek-Coder's shapes.
    "1.3b": ModelConfig(32256, 2048, 5504, 24, 16, 16, 128, 16384, rope_theta=1e5),
    "6.7b": ModelConfig(32256, 4096, 11008, 32, 32, 32, 128, 16384, rope_theta=1e5),
}
