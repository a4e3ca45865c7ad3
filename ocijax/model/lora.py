"""Low-rank adaptation (LoRA, arXiv 2106.09685): a second tree of parameters beside a model's.

A weight ``W`` with an adapter acts as ``W + alpha / rank * A B``. ``A`` and ``B`` are trained, and
``W`` is not. In the tree they are ``<path>_lora_a`` and ``<path>_lora_b``; ``B`` is zero at first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from ocijax.model.config import ModelConfig
from ocijax.model.parameters import LAYERS, Parameters, ParameterSpec, parameter_table


@dataclass(frozen=True)
class LoraConfig:
    """Which weights have an adapter, and of what size.

    Attributes:
      rank: inner dimension of the two factors; 0: no adapter, every parameter is trained.
      alpha: numerator of the scale, ``alpha / rank``.
      targets: names of the weights, such as ``query`` or ``down``; empty: all matrices of the
        layers. ``head`` is possible where the model has one of its own.
    """

    rank: int = 0
    alpha: float = 32.0
    targets: tuple[str, ...] = ()

    def __post_init__(self):
        """Raises ValueError, beginning with the field, where a number makes no sense."""
        if self.rank < 0:
            raise ValueError(f"rank must not be negative, is {self.rank}")
        if self.alpha <= 0:
            raise ValueError(f"alpha must be positive, is {self.alpha}")

    @property
    def scale(self) -> float:
        """What the product of the factors is multiplied by."""
        return self.alpha / self.rank


def adapted_weights(config: ModelConfig, lora: LoraConfig) -> Mapping[str, ParameterSpec]:
    """The weights that have an adapter, by path, as `parameter_table` has them.

    Raises:
      ValueError: a target is no weight of this model.
    """
    table = parameter_table(config)
    matrices = {path.removeprefix(LAYERS): path for path, spec in table.items() if spec.inputs}
    for target in lora.targets:
        if target not in matrices:
            raise ValueError(f"targets: {target!r} is none of {', '.join(matrices)}")
    chosen = [
        path
        for name, path in matrices.items()
        if (name in lora.targets if lora.targets else path.startswith(LAYERS))
    ]
    return {path: table[path] for path in chosen}


def adapter_table(config: ModelConfig, lora: LoraConfig) -> Mapping[str, ParameterSpec]:
    """Every array of an adapter, by path; Hugging Face names are those of the PEFT library.

    Raises:
      ValueError: a target is no weight of this model.
    """
    table = {}
    for path, spec in adapted_weights(config, lora).items():
        name = f"base_model.model.{spec.hugging_face.removesuffix('.weight')}"
        start = int(spec.stacked)
        end = start + spec.inputs
        inputs = math.prod(spec.shape[start:end])
        table[f"{path}_lora_a"] = ParameterSpec(
            (*spec.shape[:end], lora.rank),
            (*spec.axes[:end], "rank"),
            f"{name}.lora_A.weight",
            inputs=spec.inputs,
            # The variance that PEFT draws with: uniform within one over the root of the inputs.
            stddev=1 / math.sqrt(3 * inputs),
        )
        table[f"{path}_lora_b"] = ParameterSpec(
            (*spec.shape[:start], lora.rank, *spec.shape[end:]),
            (*spec.axes[:start], "rank", *spec.axes[end:]),
            f"{name}.lora_B.weight",
            inputs=1,
        )
    return table


def with_adapter(parameters: Parameters, adapter: Parameters, lora: LoraConfig) -> Parameters:
    """Both trees in one, as the decoder takes them: the scale is in the second factors."""
    scaled = {
        path: array * lora.scale if path.endswith("_lora_b") else array
        for path, array in adapter.items()
    }
    return {**parameters, **scaled}


def merge_adapter(
    config: ModelConfig, lora: LoraConfig, parameters: Parameters, adapter: Parameters
) -> Parameters:
    """Parameters that compute without an adapter what these compute with it.

    One stacked array at a time, layer by layer, in fp32 or wider; dtypes and shardings stay.

    Args:
      config: the model's shape.
      lora: what the adapter was trained with.
      parameters: of the model; those that have an adapter are given up.
      adapter: of `adapter_table`.
    """
    merged = dict(parameters)
    for path, spec in adapted_weights(config, lora).items():
        factors = adapter[f"{path}_lora_a"], adapter[f"{path}_lora_b"]
        merged[path] = _merge(merged[path], *factors, scale=lora.scale, stacked=spec.stacked)
    return merged


@partial(jax.jit, static_argnames=("scale", "stacked"), donate_argnums=0)
def _merge(
    weight: jax.Array, first: jax.Array, second: jax.Array, *, scale: float, stacked: bool
) -> jax.Array:
    def one(arrays):
        weight, first, second = arrays
        wide = jnp.promote_types(weight.dtype, jnp.float32)
        rank = second.shape[0]
        product = jnp.matmul(
            first.reshape(-1, rank).astype(wide),
            second.reshape(rank, -1).astype(wide),
            precision=jax.lax.Precision.HIGHEST,
        )
        return (weight + scale * product.reshape(weight.shape)).astype(weight.dtype)

    arrays = weight, first, second
    return jax.lax.map(one, arrays) if stacked else one(arrays)
