"""Matrix products in eight-bit floating point, which Hopper GPUs run at twice the rate of bfloat16.

Operands are rounded to E4M3 and the gradients of results to E5M2, as arXiv 2209.05433 has it, each
scaled by the power of two that brings the largest value of the tensor at hand into its format.
"""

import jax
import jax.numpy as jnp

_OPERAND, _GRADIENT = jnp.float8_e4m3fn, jnp.float8_e5m2

_EXPONENT, _FRACTION = 0x7F800000, 0x007FFFFF
"""Bits of a number in fp32."""

Scaled = tuple[jax.Array, jax.Array]
"""Values in eight bits, and the scalar that they are to be multiplied by."""


@jax.custom_vjp
def fp8_product(array: jax.Array, weight: jax.Array) -> jax.Array:
    """``array @ weight``, and its gradients, from operands in eight bits.

    Args:
      array: ``[rows, inputs]``, any float dtype.
      weight: ``[inputs, outputs]``, the same dtype.

    Returns:
      ``[rows, outputs]`` in that dtype.
    """
    return _forward(array, weight)[0]


def _forward(array, weight):
    operands = _rounded(array, _OPERAND), _rounded(weight, _OPERAND)
    return _product(*operands, (1, 0), array.dtype), operands


def _backward(operands, cotangent):
    array, weight = operands
    gradient, dtype = _rounded(cotangent, _GRADIENT), cotangent.dtype
    return _product(gradient, weight, (1, 1), dtype), _product(array, gradient, (0, 0), dtype)


fp8_product.defvjp(_forward, _backward)


def _rounded(array: jax.Array, dtype) -> Scaled:
    largest = jnp.abs(array).max().astype(jnp.float32) / jnp.finfo(dtype).max.astype(jnp.float32)
    scale = _power_of_two(jnp.where(largest > 0, largest, 1)).astype(array.dtype)
    return (array / scale).astype(dtype), scale


def _power_of_two(number: jax.Array) -> jax.Array:
    """The first one that is no less than a positive number in fp32; scaling by it loses nothing.

    It is made of the number's bits: exp2 and log2, which devices approximate, give others too.
    """
    bits = jax.lax.bitcast_convert_type(number, jnp.uint32)
    return jax.lax.bitcast_convert_type((bits + _FRACTION) & _EXPONENT, jnp.float32)


def _product(one: Scaled, other: Scaled, contracted: tuple[int, int], dtype) -> jax.Array:
    """The product of two matrices over these dimensions; sums are in fp32 inside the kernel."""
    dimensions = tuple((dimension,) for dimension in contracted), ((), ())
    product = jax.lax.dot_general(one[0], other[0], dimensions, preferred_element_type=dtype)
    return product * (one[1] * other[1])
