"""Cross-entropy of the next token that never holds the full logits."""

import jax
import jax.numpy as jnp

from ocijax.model.decoder import Decoder
from ocijax.model.remat import Remat
from ocijax.sharding import constrain

Batch = dict[str, jax.Array]
"""Packed rows, each array ``[rows, length]``: ``tokens`` int32; ``positions`` int32, restarting in
each segment; ``segment_ids`` int32, 0 for padding; ``loss_weights`` float32, the weight of each
token as a target (the first of a segment has none)."""


def with_targets(batch: Batch) -> Batch:
    """The batch with ``targets``, the token after each, and with the weights beside these."""
    # Shifting keeps the length; the last position predicts nothing.
    weights = jnp.roll(batch["loss_weights"], -1, axis=1).at[:, -1].set(0)
    return {**batch, "targets": jnp.roll(batch["tokens"], -1, axis=1), "loss_weights": weights}


def batch_loss(
    decoder: Decoder, batch: Batch, chunk: int, remat: Remat = "none"
) -> tuple[jax.Array, jax.Array]:
    """Weighted negative log-likelihood of a batch, in nats, as a sum.

    Sums and counts are returned apart, so that rows, micro-batches and devices may be added up
    in any grouping and divided once.

    Args:
      decoder: the model.
      batch: packed rows `with_targets`, in which positions may have any order.
      chunk: positions of each row whose logits are held at once.
      remat: what the backward computes again of the layers.

    Returns:
      ``(sum of weights times negative log-likelihood, sum of weights)``, fp32 or wider.
    """
    hidden = decoder(batch["tokens"], batch["positions"], batch["segment_ids"], remat)
    weights = batch["loss_weights"].astype(jnp.promote_types(hidden.dtype, jnp.float32))
    hidden, head = decoder.with_head(hidden)
    head = constrain(head, "width", "vocab")
    return cross_entropy(hidden, head, batch["targets"], weights, chunk), weights.sum()


def cross_entropy(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array, chunk: int
) -> jax.Array:
    """Sum over all positions of ``weights * -log softmax(hidden @ head)[targets]``.

    Runs over the length in chunks. The gradient of each chunk is taken while its logits are at
    hand (as in Liger Kernel, arXiv 2410.10989, section 3.2), so that no logits outlive their chunk
    and none are computed twice.

    Args:
      hidden: ``[rows, length, width]``, any float dtype; products with the head are in it.
      head: ``[width, vocab]``, the same dtype.
      targets: ``[rows, length]`` int32.
      weights: ``[rows, length]``, not differentiated.
      chunk: positions of each row at once; divides ``length``, or exceeds it.

    Returns:
      A scalar in fp32 or wider.
    """
    rows, length, _ = hidden.shape
    chunk = min(chunk, length)
    if length % chunk:
        raise ValueError(f"chunks of {chunk} positions do not divide rows of {length}")

    def split(array):
        array = jnp.moveaxis(array.reshape(rows, length // chunk, chunk, *array.shape[2:]), 1, 0)
        return array.reshape(length // chunk, rows * chunk, *array.shape[3:])

    return _chunked_sum(split(hidden), head, split(targets), split(weights))


@jax.custom_vjp
def _chunked_sum(hidden, head, targets, weights):
    """`cross_entropy` over ``[chunks, positions, ...]``."""

    def body(total, piece):
        return total + _chunk_loss(piece[0], head, *piece[1:])[0], None

    return jax.lax.scan(body, jnp.zeros((), weights.dtype), (hidden, targets, weights))[0]


def _chunk_loss(hidden, head, targets, weights):
    """The sum for one chunk, with what its gradient needs: logits, their normaliser, the hits."""
    logits = jnp.matmul(hidden, head, preferred_element_type=weights.dtype)
    normaliser = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    # A comparison and not a gather: it stays local where the vocabulary is split over devices.
    hits = jnp.arange(logits.shape[-1]) == targets[..., None]
    likelihood = jnp.where(hits, logits, 0).sum(-1) - normaliser[..., 0]
    return -(weights * likelihood).sum(), (logits, normaliser, hits)


def _forward(hidden, head, targets, weights):
    def body(carry, piece):
        total, head_gradient = carry
        hidden, targets, weights = piece
        loss, (logits, normaliser, hits) = _chunk_loss(hidden, head, targets, weights)
        errors = (jnp.exp(logits - normaliser) - hits) * weights[..., None]
        errors = errors.astype(hidden.dtype)
        head_gradient += jnp.matmul(hidden.T, errors, preferred_element_type=weights.dtype)
        return (total + loss, head_gradient), errors @ head.T

    zeros = jnp.zeros((), weights.dtype), jnp.zeros(head.shape, weights.dtype)
    (total, head_gradient), hidden_gradient = jax.lax.scan(body, zeros, (hidden, targets, weights))
    return total, (hidden_gradient, head_gradient, head)


def _backward(residuals, cotangent):
    hidden_gradient, head_gradient, head = residuals
    scaled = hidden_gradient * cotangent.astype(hidden_gradient.dtype)
    return scaled, (head_gradient * cotangent).astype(head.dtype), None, None


_chunked_sum.defvjp(_forward, _backward)
