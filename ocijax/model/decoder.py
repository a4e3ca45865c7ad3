"""The decoder: embeddings, stacked layers run by a scan, final norm and output head."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from ocijax.model.attention import masked_attention, packed_mask, rotate
from ocijax.model.config import ModelConfig
from ocijax.model.parameters import Parameters
from ocijax.sharding import constrain

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]
"""``(layer index, query, key, value, state) -> (context, state)``.

Query, key and value are rotated already, ``[batch, length, heads, head_dim]``; ``state`` is
what the caller threads through the layers: nothing in training, the cache in sampling.
"""


@dataclass(frozen=True)
class ComputeConfig:
    """How the forward runs, apart from what it computes.

    Attributes:
      dtype: dtype of activations and of the parameters in matrix products.
      remat: ``none`` keeps every activation for the backward, ``full`` recomputes each layer.
      scan_layers: run the layers by `jax.lax.scan` (compiles once) or unrolled.
    """

    dtype: Literal["bfloat16", "float32", "float64"] = "bfloat16"
    remat: Literal["none", "full"] = "full"
    scan_layers: bool = True


def rms_norm(array: jax.Array, scale: jax.Array, epsilon: float) -> jax.Array:
    """RMSNorm (arXiv 1910.07467) over the last axis, in fp32 or wider; keeps the dtype."""
    wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    root = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + epsilon)
    return ((wide * root).astype(array.dtype)) * scale.astype(array.dtype)


def project(array: jax.Array, weight: jax.Array, inputs: int = 1) -> jax.Array:
    """Matrix product of the last ``inputs`` dimensions with the first ones of ``weight``.

    The dimensions before are flattened: with two of them, XLA on a CPU takes the gradient of the
    weight through a transposed copy, at a quarter of the speed.
    """
    size = math.prod(weight.shape[:inputs])
    product = array.reshape(-1, size) @ weight.reshape(size, -1)
    return product.reshape(*array.shape[:-inputs], *weight.shape[inputs:])


class DecoderLayer(nnx.Module):
    """Attention and gated MLP, each behind a norm and a residual; holds one layer or a stack."""

    def __init__(self, config: ModelConfig, compute: ComputeConfig, parameters: Parameters):
        self.config = config
        self.compute = compute
        for name, array in parameters.items():
            setattr(self, name, nnx.Param(array))

    def weight(self, name: str) -> jax.Array:
        """A parameter of this layer in the compute dtype."""
        return getattr(self, name)[...].astype(self.compute.dtype)

    def __call__(
        self, index: jax.Array, hidden: jax.Array, positions: jax.Array, attend: Attend, state: Any
    ) -> tuple[jax.Array, Any]:
        """One layer over ``hidden`` ``[batch, length, hidden]``; returns it and the new state."""
        config = self.config
        normed = rms_norm(hidden, self.weight("attention_norm"), config.rms_norm_eps)
        query, key, value = (
            project(normed, self.weight(name)) for name in ("query", "key", "value")
        )
        query, key = rotate(query, positions, config), rotate(key, positions, config)
        query = constrain(query, "batch", "length", "heads", "head_dim")
        context, state = attend(index, query, key, value, state)
        hidden = hidden + project(context, self.weight("output"), inputs=2)
        normed = rms_norm(hidden, self.weight("mlp_norm"), config.rms_norm_eps)
        gate, up = project(normed, self.weight("gate")), project(normed, self.weight("up"))
        inner = jax.nn.silu(gate) * up
        inner = constrain(inner, "batch", "length", "intermediate")
        hidden = hidden + project(inner, self.weight("down"))
        return constrain(hidden, "batch", "length", "width"), state


class Decoder(nnx.Module):
    """A Llama-kind decoder over the arrays of `ocijax.model.parameters.parameter_table`.

    Example::

      decoder = Decoder(config, ComputeConfig(dtype="float32"), parameters)
      hidden = decoder(tokens, positions, segment_ids)   # [batch, length, hidden]
      logits = decoder.logits(hidden)                    # [batch, length, vocab]
    """

    def __init__(self, config: ModelConfig, compute: ComputeConfig, parameters: Parameters):
        self.config = config
        self.compute = compute
        self.embedding = nnx.Param(parameters["embedding"])
        self.final_norm = nnx.Param(parameters["final_norm"])
        self.head = None if config.tie_word_embeddings else nnx.Param(parameters["head"])
        layers = {
            path.removeprefix("layers/"): array
            for path, array in parameters.items()
            if path.startswith("layers/")
        }
        self.layers = DecoderLayer(config, compute, layers)

    def __call__(
        self, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array
    ) -> jax.Array:
        """Final hidden states of packed rows, each segment seeing itself only.

        Args:
          tokens: ``[batch, length]`` int32.
          positions: ``[batch, length]`` int32, restarting at zero in each segment.
          segment_ids: ``[batch, length]`` int32, 0 for padding.

        Returns:
          ``[batch, length, hidden]`` in the compute dtype, after the final norm.
        """
        mask = packed_mask(positions, segment_ids)

        def attend(index, query, key, value, state):
            del index
            return masked_attention(query, key, value, mask), state

        hidden, _ = self.run_layers(tokens, positions, attend, None)
        return hidden

    def run_layers(
        self, tokens: jax.Array, positions: jax.Array, attend: Attend, state: Any
    ) -> tuple[jax.Array, Any]:
        """All layers with the caller's attention; returns hidden states and the final state."""
        # Gathered over `fsdp` before the look-up: a look-up in a split table reshards its result.
        embedding = constrain(self.embedding[...].astype(self.compute.dtype), "vocab", "width")
        hidden = constrain(embedding[tokens], "batch", "length", "width")

        def body(carry, indexed_layer):
            index, layer = indexed_layer
            return layer(index, carry[0], positions, attend, carry[1]), None

        if self.compute.remat == "full":
            body = jax.checkpoint(body)
        indexed = (jnp.arange(self.config.num_hidden_layers), self.layers)
        carry = (hidden, state)
        if self.compute.scan_layers:
            carry, _ = jax.lax.scan(body, carry, indexed)
        else:
            for index in range(self.config.num_hidden_layers):
                carry, _ = body(carry, jax.tree.map(lambda stack, i=index: stack[i], indexed))
        hidden, state = carry
        hidden = rms_norm(
            hidden, self.final_norm[...].astype(hidden.dtype), self.config.rms_norm_eps
        )
        return hidden, state

    def head_matrix(self) -> jax.Array:
        """The output head ``[hidden, vocab]`` in the compute dtype."""
        head = self.embedding[...].T if self.head is None else self.head[...]
        return head.astype(self.compute.dtype)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Logits ``[..., vocab]`` of hidden states ``[..., hidden]``, in fp32 or wider."""
        wide = jnp.promote_types(hidden.dtype, jnp.float32)
        return jnp.einsum("...h,hv->...v", hidden, self.head_matrix(), preferred_element_type=wide)
