"""The parameter table: every array of a model, its shape, axes, init and Hugging Face names.

One table drives initialisation, sharding, import, export and memory estimates. Parameters
travel as a plain dict ``{path: array}``; arrays of the decoder layers are stacked on axis 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from ocijax.model.config import ModelConfig
from ocijax.sharding import named_sharding

Parameters = dict[str, jax.Array]
"""``{path: array}``, the paths being those of `parameter_table`."""


@dataclass(frozen=True)
class ParameterSpec:
    """One row of the table.

    Attributes:
      shape: full shape; layers are stacked on axis 0 where ``axes[0] == "layers"``.
      axes: one logical axis name per dimension; `ocijax.sharding` maps them to mesh axes.
      stddev: standard deviation of the truncated-normal init; ``None`` initialises to one.
      hugging_face: name in a checkpoint, ``{layer}`` standing for the layer's index.
      matrix: how many leading dimensions (after ``layers``) are inputs of the matrix product;
        Hugging Face stores the same matrix as ``[outputs, inputs]``. Zero: stored as it is.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    stddev: float | None
    hugging_face: str
    matrix: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def parameter_table(config: ModelConfig) -> Mapping[str, ParameterSpec]:
    """Every parameter of a model of this shape, by path, in a fixed order."""
    layers, hidden, inner = (
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
    )
    heads, key_value_heads, head = (
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
    )
    in_scale, out_scale = 0.02, 0.02 / math.sqrt(2 * layers)
    block = "model.layers.{layer}."

    def projection(name: str, count: int) -> ParameterSpec:
        return ParameterSpec(
            (layers, hidden, count, head),
            ("layers", "hidden", "heads" if name == "q" else "key_value_heads", "head_dim"),
            in_scale,
            f"{block}self_attn.{name}_proj.weight",
            matrix=1,
        )

    def norm(name: str) -> ParameterSpec:
        return ParameterSpec((layers, hidden), ("layers", "hidden"), None, f"{block}{name}.weight")

    table = {
        "embedding": ParameterSpec(
            (config.vocab_size, hidden), ("vocab", "hidden"), in_scale, "model.embed_tokens.weight"
        ),
        "layers/attention_norm": norm("input_layernorm"),
        "layers/query": projection("q", heads),
        "layers/key": projection("k", key_value_heads),
        "layers/value": projection("v", key_value_heads),
        "layers/output": ParameterSpec(
            (layers, heads, head, hidden),
            ("layers", "heads", "head_dim", "hidden"),
            out_scale,
            f"{block}self_attn.o_proj.weight",
            matrix=2,
        ),
        "layers/mlp_norm": norm("post_attention_layernorm"),
        "layers/gate": ParameterSpec(
            (layers, hidden, inner),
            ("layers", "hidden", "intermediate"),
            in_scale,
            f"{block}mlp.gate_proj.weight",
            matrix=1,
        ),
        "layers/up": ParameterSpec(
            (layers, hidden, inner),
            ("layers", "hidden", "intermediate"),
            in_scale,
            f"{block}mlp.up_proj.weight",
            matrix=1,
        ),
        "layers/down": ParameterSpec(
            (layers, inner, hidden),
            ("layers", "intermediate", "hidden"),
            out_scale,
            f"{block}mlp.down_proj.weight",
            matrix=1,
        ),
        "final_norm": ParameterSpec((hidden,), ("hidden",), None, "model.norm.weight"),
    }
    if not config.tie_word_embeddings:
        table["head"] = ParameterSpec(
            (hidden, config.vocab_size), ("hidden", "vocab"), in_scale, "lm_head.weight", matrix=1
        )
    return table


def init_parameters(config: ModelConfig, key: jax.Array, dtype=jnp.float32) -> Parameters:
    """Fresh parameters: truncated normal at two standard deviations, norms at one.

    Args:
      config: the model's shape.
      key: a PRNG key; each path folds in its own index, so that one path's draw does not
        depend on the others.
      dtype: dtype of every array.
    """
    parameters = {}
    for index, (path, spec) in enumerate(parameter_table(config).items()):
        if spec.stddev is None:
            parameters[path] = jnp.ones(spec.shape, dtype)
            continue
        draw = jax.random.truncated_normal(jax.random.fold_in(key, index), -2, 2, spec.shape, dtype)
        parameters[path] = draw * jnp.asarray(spec.stddev, dtype)
    return parameters


def parameter_shardings(config: ModelConfig, mesh: Mesh) -> dict[str, NamedSharding]:
    """Where each parameter lives on this mesh, by path.

    Raises:
      InputError: the mesh does not divide the model.
    """
    return {
        path: named_sharding(mesh, spec.axes, spec.shape)
        for path, spec in parameter_table(config).items()
    }


def parameter_count(config: ModelConfig) -> int:
    """Number of trainable scalars, without allocating any."""
    return sum(spec.size for spec in parameter_table(config).values())


def from_hugging_face(spec: ParameterSpec, tensor: jax.Array) -> jax.Array:
    """One layer's Hugging Face tensor (``[outputs, inputs]``) in our layout, unstacked."""
    shape = spec.shape[1:] if spec.axes[0] == "layers" else spec.shape
    if not spec.matrix:
        return tensor.reshape(shape)
    inputs, outputs = shape[: spec.matrix], shape[spec.matrix :]
    return tensor.reshape(*outputs, *inputs).transpose(
        *range(len(outputs), len(shape)), *range(len(outputs))
    )
