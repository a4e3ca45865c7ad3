import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.model.fp8 import fp8_product

EPSILON = 2.0**-4  # half the distance of two neighbours in E4M3, relative to the smaller


def matrices(scale=1.0):
    random = np.random.default_rng(0)
    return [
        jnp.asarray(scale * random.standard_normal(shape), jnp.float32)
        for shape in ((32, 64), (64, 48), (32, 48))
    ]


def distance(one, other):
    return np.linalg.norm(np.float64(one) - other) / np.linalg.norm(np.float64(other))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_products_and_gradients_are_near_the_exact_ones_at_any_scale(scale):
    array, weight, cotangent = matrices(scale)
    exact, exact_gradients = jax.vjp(jnp.matmul, array, weight)
    product, gradients = jax.vjp(fp8_product, array, weight)
    assert 0 < distance(product, exact) < EPSILON
    for ours, theirs in zip(gradients(cotangent), exact_gradients(cotangent), strict=True):
        assert 0 < distance(ours, theirs) < 2 * EPSILON  # E5M2 has one bit less


def test_what_eight_bits_can_hold_is_multiplied_exactly():
    array = jnp.asarray([[1.0, -2.0], [0.5, 448.0]])
    weight = jnp.asarray([[3.0, 0.0], [0.25, -1.5]])
    np.testing.assert_array_equal(fp8_product(array, weight), array @ weight)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("exponent", range(-60, 61, 5))
def test_so_it_is_whatever_power_of_two_scales_it(exponent, dtype):
    scale = 2.0**exponent
    array = scale * jnp.asarray([[1.0, -1.75], [1.25, 0.5]], dtype)
    weight = jnp.asarray([[2.0, 0.0], [0.0, -0.5]], dtype)
    assert (fp8_product(array, weight) == array @ weight).all()


def test_zeros_give_zeros():
    array, weight, _ = matrices()
    assert not fp8_product(jnp.zeros_like(array), weight).any()
