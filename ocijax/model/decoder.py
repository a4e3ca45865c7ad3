"""The decoder: embeddings, stacked layers run by a scan, final norm and output head."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from ocijax.model.config import ModelConfig
from ocijax.model.fp8 import fp8_product
from ocijax.model.packed_attention import Kernel, choose_kernel, packed_attention
from ocijax.model.parameters import LAYERS, Parameters, parameter_table
from ocijax.model.remat import GATE, KEY, OUTPUT, QUERY, UP, VALUE, Remat, named, rematerialised
from ocijax.model.rotary import rotate
from ocijax.sharding import constrain, runs_on_tpu

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]
"""``(layer index, query, key, value, state) -> (context, state)``.

Query, key and value are rotated already, unless `Decoder.run_layers` is given no positions,
``[batch, length, heads, head_dim]``; ``state`` is what the caller threads through the layers:
nothing in training, the cache in sampling.
"""

Whole = Callable[[str, jax.Array], jax.Array]
"""``(path, what a device holds of a parameter) -> all of it``, called where it is used."""


@dataclass(frozen=True)
class ComputeConfig:
    """How the forward runs, apart from what it computes.

    Attributes:
      dtype: dtype of activations and of the parameters in matrix products.
      attention: kernel for packed rows, see `ocijax.model.packed_attention`; ``auto``: the fastest
        that the device has.
      max_segments: most segments in a packed row; cuDNN's kernel takes longer the more are allowed,
        and 16 fill rows of 4,096 tokens with conversations of usual lengths.
      fp8: whether the layers' matrix products take their operands in eight bits, see
        `ocijax.model.fp8`.
      scan_layers: run the layers by `jax.lax.scan` (compiles once) or unrolled.
    """

    dtype: Literal["bfloat16", "float32", "float64"] = "bfloat16"
    attention: Literal[Kernel, "auto"] = "auto"
    max_segments: int = 16
    fp8: bool = False
    scan_layers: bool = True


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu_pytorch_tanh": partial(jax.nn.gelu, approximate=True),
}
"""By ``hidden_act``."""


Product = Callable[[jax.Array, jax.Array], jax.Array]
Project = Callable[[jax.Array, jax.Array, int, Product], jax.Array]


def project(
    array: jax.Array, weight: jax.Array, inputs: int = 1, product: Product = jnp.matmul
) -> jax.Array:
    """Matrix product of the last ``inputs`` dimensions with the first ones of ``weight``.

    The dimensions before are flattened: with two of them, XLA on a CPU takes the gradient of the
    weight through a transposed copy, at a quarter of the speed. On a TPU it is the other way
    round: it holds transposed copies of all inputs, a fifth of a layer's backward pass.
    """
    if product is jnp.matmul and runs_on_tpu():
        return jnp.tensordot(array, weight, inputs)
    size = math.prod(weight.shape[:inputs])
    flat = product(array.reshape(-1, size), weight.reshape(size, -1))
    return flat.reshape(*array.shape[:-inputs], *weight.shape[inputs:])


JOINED = ("query", "key", "value"), ("gate", "up")
"""Weights of a layer that are multiplied with the same numbers."""


def joined(names: Iterable[str]) -> str:
    """The name of a weight that holds these, one after the other in their first output axis."""
    return "_".join(names)


def project_transposed(
    array: jax.Array, weight: jax.Array, inputs: int = 1, product: Product = jnp.matmul
) -> jax.Array:
    """As `project`, of a weight whose last ``inputs`` dimensions are those of the inputs.

    Of a single row it is a sum along each row of the weight, for which XLA reads the weight faster
    on a GPU than for a matrix product of one row.
    """
    size = math.prod(weight.shape[-inputs:])
    rows, flat = array.reshape(-1, size), weight.reshape(-1, size)
    if rows.shape[0] == 1:
        wide = jnp.promote_types(array.dtype, jnp.float32)
        result = (rows.astype(wide) * flat.astype(wide)).sum(axis=1).astype(array.dtype)
    else:
        result = product(rows, flat.T)
    return result.reshape(*array.shape[:-inputs], *weight.shape[:-inputs])


class _Block(nnx.Module):
    """Parameters by name, and what is done with them wherever they are.

    Biases are added where the parameter table has them, ``query_bias`` to what ``query`` gives.
    """

    def __init__(
        self,
        config: ModelConfig,
        compute: ComputeConfig,
        parameters: Parameters,
        whole: Whole,
        project: Project,
    ):
        self.config = config
        self.compute = compute
        self.whole = whole
        self.project = project
        for name, array in parameters.items():
            setattr(self, name, nnx.Param(array))

    def parameter(self, name: str) -> jax.Array | None:
        """A parameter in the compute dtype, ``None`` where the model has none of that name."""
        parameter = getattr(self, name, None)
        if parameter is None:
            return None
        # Cast before it is made whole: what travels between devices is in the compute dtype.
        return self.whole(name, parameter[...].astype(self.compute.dtype))

    def linear(self, name: str, array: jax.Array, inputs: int = 1) -> jax.Array:
        """The product of the last ``inputs`` dimensions with a weight, plus adapter and bias."""
        return self.linears((name,), array, inputs)[0]

    def linears(self, names: tuple[str, ...], array: jax.Array, inputs: int = 1) -> list[jax.Array]:
        """`linear` with each of several weights, or with all in one where they are `joined`."""
        if len(names) > 1 and hasattr(self, joined(names)):
            table = parameter_table(self.config)
            sizes = [table[f"{LAYERS}{name}"].layer_shape[inputs] for name in names]
            whole = self._product(joined(names), array, inputs)
            products = jax.lax.split(whole, sizes, axis=array.ndim - inputs)
        else:
            products = [self._product(name, array, inputs) for name in names]
        firsts = [self.parameter(f"{name}_lora_a") for name in names]
        adapted = [index for index, first in enumerate(firsts) if first is not None]
        if adapted:
            # One product with the first factors of all adapters: each would read all of the input.
            factors = [firsts[index] for index in adapted]
            low = project(array, jnp.concatenate(factors, axis=-1), inputs)
            parts = jax.lax.split(low, [factor.shape[-1] for factor in factors], axis=-1)
            for index, part in zip(adapted, parts, strict=True):
                products[index] += project(part, self.parameter(f"{names[index]}_lora_b"))
        biases = [self.parameter(f"{name}_bias") for name in names]
        return [
            product if bias is None else product + bias
            for product, bias in zip(products, biases, strict=True)
        ]

    def _product(self, name: str, array: jax.Array, inputs: int) -> jax.Array:
        """The product with a weight alone; one in eight bits has its outputs' scales beside it."""
        product = fp8_product if self.compute.fp8 else jnp.matmul
        result = self.project(array, self.parameter(name), inputs, product)
        scale = getattr(self, f"{name}_scale", None)
        return result if scale is None else (result * scale[...]).astype(result.dtype)

    def norm(self, name: str, array: jax.Array) -> jax.Array:
        """The model's kind of norm over the last axis, in fp32 or wider; keeps the dtype."""
        config = self.config
        wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
        weight, bias = self.parameter(name), self.parameter(f"{name}_bias")
        if config.norm == "layer_norm" or config.norm_unit_offset:
            # These scale before they round, Llama after: each as it was trained.
            weight = weight.astype(wide.dtype)
        if config.norm == "layer_norm":
            wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
        if config.norm_unit_offset:
            weight = 1 + weight
        root = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + config.norm_eps)
        scaled = (wide * root).astype(weight.dtype) * weight
        return (scaled if bias is None else scaled + bias).astype(array.dtype)


class DecoderLayer(_Block):
    """Attention and MLP, each behind a norm and a residual; holds one layer or a stack."""

    def mlp(self, hidden: jax.Array) -> jax.Array:
        """The MLP, ``[batch, length, hidden]`` to the same."""
        activation = ACTIVATIONS[self.config.hidden_act]
        if self.config.gated_mlp:
            gate, up = self.linears(("gate", "up"), hidden)
            inner = activation(named(gate, GATE)) * named(up, UP)
        else:
            inner = activation(named(self.linear("up", hidden), UP))
        return self.linear("down", constrain(inner, "batch", "length", "intermediate"))

    def queries_keys_values(
        self, hidden: jax.Array, positions: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What attention takes, ``[batch, length, heads, head_dim]`` each; see `Attend`."""
        config = self.config
        normed = self.norm("attention_norm", hidden)
        query, key, value = self.linears(("query", "key", "value"), normed)
        if config.query_key_norm:
            query, key = self.norm("query_norm", query), self.norm("key_norm", key)
        if positions is not None:
            query, key = rotate(query, positions, config), rotate(key, positions, config)
        query = constrain(query, "batch", "length", "heads", "head_dim")
        return named(query, QUERY), named(key, KEY), named(value, VALUE)

    def after_attention(self, hidden: jax.Array, context: jax.Array) -> jax.Array:
        """``hidden`` after what attention gives, ``[batch, length, heads, head_dim]``, and MLP."""
        hidden = hidden + named(self.linear("output", context, inputs=2), OUTPUT)
        hidden = hidden + self.mlp(self.norm("mlp_norm", hidden))
        return constrain(hidden, "batch", "length", "width")

    def __call__(
        self,
        index: jax.Array,
        hidden: jax.Array,
        positions: jax.Array | None,
        attend: Attend,
        state: Any,
    ) -> tuple[jax.Array, Any]:
        """One layer over ``hidden`` ``[batch, length, hidden]``; returns it and the new state."""
        query, key, value = self.queries_keys_values(hidden, positions)
        context, state = attend(index, query, key, value, state)
        return self.after_attention(hidden, context), state


def _unstacked(stacks: Any, count: int) -> list[Any]:
    """The trees that ``count`` trees of arrays were stacked from.

    By a split, the gradient of which is one concatenation; that of indexing is a sum of ``count``
    arrays as large as the stack.
    """
    leaves, structure = jax.tree.flatten(stacks)
    layers = zip(*(jax.lax.split(leaf, (1,) * count) for leaf in leaves), strict=True)
    return [jax.tree.unflatten(structure, [leaf[0] for leaf in layer]) for layer in layers]


class Decoder(_Block):
    """A decoder over the arrays of `ocijax.model.parameters.parameter_table`.

    Those of an adapter may be among them, see `ocijax.model.lora.with_adapter`. The layers' may be
    stacked, or of each a tuple with one for each layer, and some of them `joined`, as
    `ocijax.sample.weights.sampling_weights` gives them.

    Example::

      decoder = Decoder(config, ComputeConfig(dtype="float32"), parameters)
      hidden = decoder(tokens, positions, segment_ids)   # [batch, length, hidden]
      logits = decoder.logits(hidden)                    # [batch, length, vocab]
    """

    def __init__(
        self,
        config: ModelConfig,
        compute: ComputeConfig,
        parameters: Parameters,
        whole: Whole = lambda path, array: array,
        project: Project = project,
    ):
        own, layers = {}, {}
        for path, array in parameters.items():
            place = layers if path.startswith(LAYERS) else own
            place[path.removeprefix(LAYERS)] = array
        super().__init__(config, compute, own, whole, project)

        def layer(arrays: Parameters) -> DecoderLayer:
            def whole_in_layer(name: str, array: jax.Array) -> jax.Array:
                return whole(f"{LAYERS}{name}", array)

            return DecoderLayer(config, compute, arrays, whole_in_layer, project)

        self.stacked = not isinstance(next(iter(layers.values())), tuple)
        if self.stacked:
            self.layers = layer(layers)
        else:
            each = zip(*layers.values(), strict=True)
            self.layers = nnx.List(
                [layer(dict(zip(layers, arrays, strict=True))) for arrays in each]
            )

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        segment_ids: jax.Array,
        remat: Remat = "none",
    ) -> jax.Array:
        """Final hidden states of packed rows, each segment seeing itself only.

        Args:
          tokens: ``[batch, length]`` int32.
          positions: ``[batch, length]`` int32, restarting at zero in each segment.
          segment_ids: ``[batch, length]`` int32, 0 for padding.
          remat: what a backward pass computes again.

        Returns:
          ``[batch, length, hidden]`` in the compute dtype, after the final norm.
        """
        kernel = self.compute.attention
        if kernel == "auto":
            device = jax.devices()[0]
            kernel = choose_kernel(self.config, self.compute.dtype, tokens.shape[1], device)
        attention = packed_attention(
            kernel,
            positions,
            segment_ids,
            self.config.sliding_window,
            self.compute.max_segments,
        )

        def attend(index, query, key, value, state):
            del index
            return attention(query, key, value), state

        hidden, _ = self.run_layers(tokens, positions, attend, None, remat)
        if kernel == "cudnn":
            # What it was not told of it has left out: better no numbers than wrong ones.
            crowded = segment_ids.max(axis=1) > self.compute.max_segments
            hidden = jnp.where(crowded[:, None, None], jnp.nan, hidden)
        return hidden

    def embed(self, tokens: jax.Array) -> jax.Array:
        """What the first layer takes, ``[batch, length, hidden]``."""
        # Gathered over `fsdp` before the look-up: a look-up in a split table reshards its result.
        embedding = constrain(self.parameter("embedding"), "vocab", "width")
        hidden = constrain(embedding[tokens], "batch", "length", "width")
        if self.config.scale_embedding:
            # Rounded to the compute dtype, as Gemma was trained.
            hidden = hidden * jnp.asarray(math.sqrt(self.config.hidden_size), hidden.dtype)
        return hidden

    def run_layers(
        self,
        tokens: jax.Array,
        positions: jax.Array | None,
        attend: Attend,
        state: Any,
        remat: Remat = "none",
    ) -> tuple[jax.Array, Any]:
        """All layers with the caller's attention; returns hidden states and the final state.

        Without ``positions`` queries and keys are not rotated, which is left to ``attend``.
        """
        hidden = self.embed(tokens)

        def body(carry, indexed_layer):
            index, layer = indexed_layer
            return layer(index, carry[0], positions, attend, carry[1]), None

        body = rematerialised(body, remat)
        carry = (hidden, state)
        if not self.stacked:
            for index, layer in enumerate(self.layers):
                carry, _ = body(carry, (index, layer))
        else:
            indexed = (jnp.arange(self.config.num_hidden_layers), self.layers)
            if self.compute.scan_layers:
                carry, _ = jax.lax.scan(body, carry, indexed)
            else:
                for indexed_layer in _unstacked(indexed, self.config.num_hidden_layers):
                    carry, _ = body(carry, indexed_layer)
        hidden, state = carry
        return self.norm("final_norm", hidden), state

    def with_head(self, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Final hidden states, and the output head ``[hidden, vocab]`` in the compute dtype.

        The head becomes whole only once these are there, and a backward pass goes on to the layers
        only once its gradient has left, so that neither is held beside them.
        """
        tied = self.config.tie_word_embeddings
        name = "embedding" if tied else "head"
        hidden, part = jax.lax.optimization_barrier((hidden, getattr(self, name)[...]))
        head = self.whole(name, part.astype(self.compute.dtype))
        if tied:
            return hidden, head.T
        first = self.parameter("head_lora_a")
        return hidden, head if first is None else head + first @ self.parameter("head_lora_b")

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Logits ``[..., vocab]`` of hidden states ``[..., hidden]``, in fp32 or wider."""
        wide = jnp.promote_types(hidden.dtype, jnp.float32)
        hidden, head = self.with_head(hidden)
        return jnp.einsum("...h,hv->...v", hidden, head, preferred_element_type=wide)
