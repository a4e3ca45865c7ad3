import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ocijax.data.example import make_examples
from ocijax.data.packing import pack
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import init_parameters
from ocijax.template import LLAMA2
from ocijax.tokenizer import load_tokenizer
from ocijax.train.loss import batch_loss, cross_entropy, with_targets
from tests.train.conftest import MODEL, conversations

ROWS, LENGTH, WIDTH, VOCAB = 3, 12, 8, 20


@pytest.fixture(scope="module")
def case():
    """Hidden states, head, targets and weights."""
    keys = jax.random.split(jax.random.key(0), 4)
    return (
        jax.random.normal(keys[0], (ROWS, LENGTH, WIDTH)),
        jax.random.normal(keys[1], (WIDTH, VOCAB)),
        jax.random.randint(keys[2], (ROWS, LENGTH), 0, VOCAB),
        jax.random.uniform(keys[3], (ROWS, LENGTH)),
    )


def reference(hidden, head, targets, weights):
    """The same through optax, over the full logits."""
    losses = optax.softmax_cross_entropy_with_integer_labels(hidden @ head, targets)
    return (losses * weights).sum()


@pytest.mark.parametrize("chunk", [1, 4, 12, 512])
def test_chunked_cross_entropy_is_optax_in_value_and_gradient(case, chunk):
    value, gradients = jax.value_and_grad(cross_entropy, (0, 1))(*case, chunk)
    expected, expected_gradients = jax.value_and_grad(reference, (0, 1))(*case)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_value_without_gradient_is_the_same(case):
    value = cross_entropy(*case, 4)
    np.testing.assert_allclose(value, jax.value_and_grad(cross_entropy)(*case, 4)[0], rtol=1e-6)


def test_gradient_of_a_scaled_loss_is_scaled(case):
    scaled = jax.grad(lambda *case: 0.25 * cross_entropy(*case, 4))(*case)
    np.testing.assert_allclose(scaled, 0.25 * jax.grad(cross_entropy)(*case, 4), rtol=1e-6)


def test_logits_are_never_held_whole(case):
    """No array of the compiled program has the size of the full logits."""
    text = jax.jit(jax.grad(cross_entropy, (0, 1)), static_argnums=4).lower(*case, 4).as_text()
    assert f"tensor<{ROWS * 4}x{VOCAB}xf32>" in text
    assert f"{ROWS}x{LENGTH}x{VOCAB}" not in text
    assert f"{ROWS * LENGTH}x{VOCAB}" not in text


def test_a_chunk_that_does_not_divide_the_length_is_refused(case):
    with pytest.raises(ValueError, match="chunks of 5 positions do not divide rows of 12"):
        cross_entropy(*case, 5)


def test_bf16_products_are_summed_in_fp32(case):
    hidden, head, targets, weights = case
    narrow = cross_entropy(hidden.astype("bfloat16"), head.astype("bfloat16"), targets, weights, 4)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, reference(*case), rtol=1e-2)


@pytest.fixture(scope="module")
def examples(tiny_tokenizer_file):
    tokenizer = load_tokenizer(tiny_tokenizer_file)
    return make_examples(conversations(6), LLAMA2, tokenizer, length=128)[0]


def test_packed_row_has_the_summed_loss_and_gradient_of_its_conversations(examples):
    parameters = init_parameters(MODEL, jax.random.key(1))
    # Larger than a fresh model's, so that what a token may see matters.
    parameters = {path: 5 * array for path, array in parameters.items()}

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def gradient(parameters, batch):
        decoder = Decoder(MODEL, ComputeConfig("float32"), parameters)
        return batch_loss(decoder, with_targets(batch), chunk=64)

    def row(examples):
        return {name: array[None] for name, array in next(pack(examples, 512)).items()}

    packed = row(examples)
    assert packed["segment_ids"].max() == len(examples) == 6
    (loss, weight), slope = gradient(parameters, packed)
    alone = [gradient(parameters, row([example])) for example in examples]
    (summed_loss, summed_weight), summed_slope = jax.tree.map(lambda *leaves: sum(leaves), *alone)
    np.testing.assert_allclose(loss, summed_loss, rtol=1e-5)
    assert weight == summed_weight
    for path, found in slope.items():
        error = np.linalg.norm(found - summed_slope[path]) / np.linalg.norm(found)
        assert error < 1e-5, path
