"""The parameter table: every array of a model, its shape, axes, init and Hugging Face names.

One table drives initialisation, sharding, import, export and memory estimates. Parameters
travel as a plain dict ``{path: array}``; arrays of the decoder layers are stacked on axis 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from ocijax.model.config import ModelConfig
from ocijax.sharding import named_sharding

LAYERS = "layers/"
"""What the paths of the layers' parameters begin with."""

Parameters = dict[str, jax.Array]
"""``{path: array}``, the paths being those of `parameter_table`."""

Array = TypeVar("Array", jax.Array, np.ndarray)
Dimension = tuple[int, str]
"""Size and logical axis."""


@dataclass(frozen=True)
class ParameterSpec:
    """One row of the table.

    Attributes:
      shape: full shape; layers are stacked on axis 0 where ``axes[0] == "layers"``.
      axes: one logical axis name per dimension; `ocijax.sharding` maps them to mesh axes.
      hugging_face: name in a checkpoint, ``{layer}`` standing for the layer's index.
      inputs: how many leading dimensions (after ``layers``) are inputs of a matrix product, whose
        matrix Hugging Face stores as ``[outputs, inputs]``; zero for a vector (a bias, a norm's
        weight), stored flat; ``None`` for the embedding table, stored as it is.
      mean: of the initial values.
      stddev: their standard deviation; zero where all begin as ``mean``.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    hugging_face: str
    inputs: int | None = 0
    mean: float = 0.0
    stddev: float = 0.0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def stacked(self) -> bool:
        """Whether it holds a tensor of each layer."""
        return self.axes[0] == "layers"

    @property
    def names(self) -> tuple[str, ...]:
        """Its tensors' names in a checkpoint, one a layer where it is stacked."""
        if not self.stacked:
            return (self.hugging_face,)
        return tuple(self.hugging_face.format(layer=layer) for layer in range(self.shape[0]))

    @property
    def layer_shape(self) -> tuple[int, ...]:
        """Our shape of one layer's tensor."""
        return self.shape[1:] if self.stacked else self.shape

    @property
    def layer_axes(self) -> tuple[str, ...]:
        """Logical axes of one layer's tensor."""
        return self.axes[1:] if self.stacked else self.axes

    @property
    def hugging_face_shape(self) -> tuple[int, ...]:
        """A checkpoint's shape of one layer's tensor."""
        shape = self.layer_shape
        if self.inputs is None:
            return shape
        flat = (math.prod(shape[self.inputs :]), math.prod(shape[: self.inputs]))
        return flat if self.inputs else flat[:1]


def parameter_table(config: ModelConfig) -> Mapping[str, ParameterSpec]:
    """Every parameter of a model of this shape, by path, in a fixed order.

    Where a layer of the decoder has a bias, it is that of the weight beside it: ``query_bias`` of
    ``query``.
    """
    layers = (config.num_hidden_layers, "layers")
    vocab, hidden = (config.vocab_size, "vocab"), (config.hidden_size, "hidden")
    inner, head = (config.intermediate_size, "intermediate"), (config.head_dim, "head_dim")
    query_heads = ((config.num_attention_heads, "heads"), head)
    key_value_heads = ((config.num_key_value_heads, "key_value_heads"), head)
    block = "model.layers.{layer}"
    attention, mlp = f"{block}.self_attn", f"{block}.mlp"
    in_scale, out_scale = 0.02, 0.02 / math.sqrt(2 * config.num_hidden_layers)
    table: dict[str, ParameterSpec] = {}

    def add(path: str, name: str, *dimensions: Dimension, **rest) -> None:
        if path.startswith(LAYERS):
            dimensions = (layers, *dimensions)
        shape, axes = zip(*dimensions, strict=True)
        table[path] = ParameterSpec(shape, axes, name, **rest)

    def add_norm(path: str, name: str, width: Dimension = hidden) -> None:
        add(path, f"{name}.weight", width, mean=0.0 if config.norm_unit_offset else 1.0)
        if config.norm == "layer_norm":
            add(f"{path}_bias", f"{name}.bias", width)

    def add_matrix(
        path: str,
        name: str,
        inputs: tuple[Dimension, ...],
        outputs: tuple[Dimension, ...],
        stddev: float,
        bias: bool = False,
    ) -> None:
        add(path, f"{name}.weight", *inputs, *outputs, inputs=len(inputs), stddev=stddev)
        if bias:
            add(f"{path}_bias", f"{name}.bias", *outputs)

    add("embedding", "model.embed_tokens.weight", vocab, hidden, inputs=None, stddev=in_scale)

    add_norm("layers/attention_norm", f"{block}.input_layernorm")
    bias = config.query_key_value_bias
    add_matrix("layers/query", f"{attention}.q_proj", (hidden,), query_heads, in_scale, bias)
    add_matrix("layers/key", f"{attention}.k_proj", (hidden,), key_value_heads, in_scale, bias)
    add_matrix("layers/value", f"{attention}.v_proj", (hidden,), key_value_heads, in_scale, bias)
    if config.query_key_norm:
        add_norm("layers/query_norm", f"{attention}.q_norm", head)
        add_norm("layers/key_norm", f"{attention}.k_norm", head)
    bias = config.attention_output_bias
    add_matrix("layers/output", f"{attention}.o_proj", query_heads, (hidden,), out_scale, bias)

    add_norm("layers/mlp_norm", f"{block}.post_attention_layernorm")
    bias = config.mlp_bias
    if config.gated_mlp:
        add_matrix("layers/gate", f"{mlp}.gate_proj", (hidden,), (inner,), in_scale, bias)
        up, down = f"{mlp}.up_proj", f"{mlp}.down_proj"
    else:
        up, down = f"{mlp}.c_fc", f"{mlp}.c_proj"
    add_matrix("layers/up", up, (hidden,), (inner,), in_scale, bias)
    add_matrix("layers/down", down, (inner,), (hidden,), out_scale, bias)

    add_norm("final_norm", "model.norm")
    if not config.tie_word_embeddings:
        add_matrix("head", "lm_head", (hidden,), (vocab,), in_scale)
    return table


def init_parameters(config: ModelConfig, key: jax.Array, dtype=jnp.float32) -> Parameters:
    """Fresh parameters of a model, see `init_table`."""
    return init_table(parameter_table(config), key, dtype)


def init_table(table: Mapping[str, ParameterSpec], key: jax.Array, dtype=jnp.float32) -> Parameters:
    """Fresh arrays: truncated normal at two standard deviations, or constant.

    Args:
      table: a model's, or an adapter's.
      key: a PRNG key; each path folds in its own index, so that one path's draw does not
        depend on the others.
      dtype: dtype of every array.
    """
    parameters = {}
    for index, (path, spec) in enumerate(table.items()):
        if not spec.stddev:
            parameters[path] = jnp.full(spec.shape, spec.mean, dtype)
            continue
        draw = jax.random.truncated_normal(jax.random.fold_in(key, index), -2, 2, spec.shape, dtype)
        parameters[path] = spec.mean + draw * jnp.asarray(spec.stddev, dtype)
    return parameters


def parameter_shardings(config: ModelConfig, mesh: Mesh) -> dict[str, NamedSharding]:
    """Where each parameter of a model lives on this mesh, see `table_shardings`."""
    return table_shardings(parameter_table(config), mesh)


def table_shardings(table: Mapping[str, ParameterSpec], mesh: Mesh) -> dict[str, NamedSharding]:
    """Where each array of a table lives on this mesh, by path.

    Raises:
      InputError: the mesh does not divide the model.
    """
    return {path: named_sharding(mesh, spec.axes, spec.shape) for path, spec in table.items()}


def parameter_count(config: ModelConfig) -> int:
    """Number of trainable scalars, without allocating any."""
    return sum(spec.size for spec in parameter_table(config).values())


def from_hugging_face(spec: ParameterSpec, tensor: Array) -> Array:
    """One layer's tensor of a checkpoint, of ``spec.hugging_face_shape``, in our layout."""
    shape, inputs = spec.layer_shape, spec.inputs or 0
    tensor = tensor.reshape(*shape[inputs:], *shape[:inputs])
    return tensor.transpose(_rolled(len(shape), len(shape) - inputs))


def to_hugging_face(spec: ParameterSpec, array: Array) -> Array:
    """One layer's array in a checkpoint's layout; the inverse of `from_hugging_face`."""
    array = array.transpose(_rolled(array.ndim, spec.inputs or 0))
    return array.reshape(spec.hugging_face_shape)


def _rolled(dimensions: int, first: int) -> tuple[int, ...]:
    """The permutation that begins with dimension ``first``."""
    return (*range(first, dimensions), *range(first))
