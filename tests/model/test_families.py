"""Every family against transformers: the tiny models of tests/golden/families.py.

Each test runs on the committed values, and on values computed here and now where torch and
transformers are installed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.data.example import Example
from ocijax.data.packing import pack
from ocijax.hugging_face.config import read_config
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.parameters import from_hugging_face, parameter_table, to_hugging_face
from ocijax.sample.cache import empty_cache
from ocijax.sample.decoding import DTYPES, Generated, Rows, begin, decode, prefill
from ocijax.sample.weights import sampling_weights
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.loss import batch_loss, with_targets
from tests.golden.families import (
    LENGTHS,
    NEW_TOKENS,
    PROMPT,
    VARIANTS,
    Reference,
    read_reference,
    summary,
    texts,
    weight,
)
from tests.live import needs_transformers

ROW = 48
COMPUTE = ComputeConfig("float32")
# Compiling takes longer than running by far.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def live_reference(variant: str) -> Reference:
    from tests.golden.make_families import compute_reference

    return compute_reference(variant)


live = pytest.param(live_reference, id="live", marks=needs_transformers)


@pytest.fixture(scope="module", params=[pytest.param(read_reference, id="committed"), live])
def source(request):
    """Where reference values come from."""
    return request.param


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def reference(variant, source) -> Reference:
    return source(variant)


@functools.cache
def model(variant: str):
    """The shape and the parameters, from the file and the tensors that transformers has."""
    config = read_config(read_reference(variant).config)
    parameters = {}
    for path, spec in parameter_table(config).items():
        layers = [
            from_hugging_face(spec, weight(name, spec.hugging_face_shape)) for name in spec.names
        ]
        parameters[path] = jnp.asarray(np.stack(layers) if spec.stacked else layers[0])
    return config, parameters


def tensors(config, parameters):
    """Arrays by their names in a checkpoint, in its layout."""
    found = {}
    for path, spec in parameter_table(config).items():
        array = np.asarray(parameters[path])
        layers = [to_hugging_face(spec, layer) for layer in (array if spec.stacked else [array])]
        found |= zip(spec.names, layers, strict=True)
    return found


def rows_of(indices):
    """Texts packed into as few rows as they need."""
    examples = [Example(*texts()[index]) for index in indices]
    rows = list(pack(examples, ROW))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@functools.cache
def forward(variant: str):
    """The jitted forward of two rows: a batch in, logits ``[rows, length, vocab]`` out."""
    config, parameters = model(variant)

    @jit
    def logits(tokens, positions, segment_ids):
        decoder = Decoder(config, COMPUTE, parameters)
        return decoder.logits(decoder(tokens, positions, segment_ids))

    return lambda batch: np.asarray(
        logits(batch["tokens"], batch["positions"], batch["segment_ids"])
    )


@functools.cache
def loss_and_gradient(variant: str):
    """The masked loss of all texts, packed, and its gradient by the names of a checkpoint."""
    config, parameters = model(variant)
    batch = with_targets(rows_of(range(len(LENGTHS))))

    def loss(parameters):
        return batch_loss(Decoder(config, COMPUTE, parameters), batch, chunk=16)[0]

    value, gradient = jit(jax.value_and_grad(loss))(parameters)
    return value, tensors(config, gradient)


@functools.cache
def greedy(variant: str, draft_tokens: int = 0):
    """What is generated after the prompts, which are ragged, through the cache."""
    config, parameters = model(variant)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    static = {"config": config, "compute": COMPUTE, "mesh": mesh}
    weights, count = sampling_weights(config, parameters, COMPUTE.dtype, mesh), len(LENGTHS)
    lengths = np.minimum(LENGTHS, PROMPT).astype(np.int32)
    prompts = np.zeros((count, PROMPT), np.int32)
    for row, length, (tokens, _) in zip(prompts, lengths, texts(), strict=True):
        row[:length] = tokens[:length]
    rows = Rows(*(np.zeros(count, dtype) for dtype in DTYPES))._replace(
        tokens=prompts[np.arange(count), lengths - 1],
        positions=lengths - 1,
        limits=np.full_like(lengths, NEW_TOKENS),
        scored=np.full(count, True),
    )
    places = PROMPT + NEW_TOKENS + draft_tokens
    cache = empty_cache(config, COMPUTE.dtype, mesh, count, places)
    slots = np.arange(count, dtype=np.int32)
    history = np.zeros((count, places if draft_tokens else 0), np.int32)
    history[:, :PROMPT] = prompts[:, : history.shape[1]]
    no_stop = np.full(1, -1, np.int32)
    chunks = prompts, slots, np.zeros_like(slots), lengths - 1
    hidden = jnp.zeros((count, config.hidden_size))
    cache, hidden = prefill(weights, cache, hidden, *chunks, window=0, kernel="masked", **static)
    rows, history, first = begin(
        weights, rows, history, no_stop, hidden, slots, rows, history, **static
    )
    choices = {"steps": NEW_TOKENS - 1, "window": places, "kernel": "masked", **static}
    *_, others = decode(
        weights, cache, rows, history, no_stop, draft_tokens=draft_tokens, **choices
    )
    tokens, scores = (
        np.concatenate([one[:, :1], other], axis=1)
        for one, other in zip(first[:2], others[:2], strict=True)
    )
    return Generated(tokens, scores, first.forwards + others.forwards)


def assert_logits(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_table_has_the_names_and_shapes_of_the_tensors_that_transformers_saves(variant, reference):
    config, parameters = model(variant)
    found = {name: array.shape for name, array in tensors(config, parameters).items()}
    assert found == reference.shapes


def test_tensors_come_back_from_our_layout_as_they_were(variant):
    config, parameters = model(variant)
    for name, array in tensors(config, parameters).items():
        np.testing.assert_array_equal(array, weight(name, array.shape))


def test_ragged_rows_have_the_logits_of_transformers(variant, reference):
    padded = [rows_of([index]) for index in range(len(LENGTHS))]
    for pair in ((0, 2), (1, 2)):
        batch = {
            name: np.concatenate([padded[index][name] for index in pair]) for name in padded[0]
        }
        for row, index in zip(forward(variant)(batch), pair, strict=True):
            assert_logits(row[: LENGTHS[index]], reference.logits[index])


def test_packed_rows_give_each_text_the_logits_that_it_has_alone(variant, reference):
    batch = rows_of(range(len(LENGTHS)))
    assert len(batch["tokens"]) == 2, "two texts share a row"
    found = forward(variant)(batch)
    for (tokens, _), expected in zip(texts(), reference.logits, strict=True):
        places = [
            (row, batch["segment_ids"][row] == segment)
            for row in range(2)
            for segment in range(1, 1 + batch["segment_ids"][row].max())
        ]
        ((row, place),) = (
            (row, place)
            for row, place in places
            if np.array_equal(batch["tokens"][row][place], tokens)
        )
        assert_logits(found[row][place], expected)


def test_masked_loss_and_its_gradient_are_those_of_transformers(variant, reference):
    loss, gradient = loss_and_gradient(variant)
    np.testing.assert_allclose(loss, reference.loss, rtol=1e-5)
    for name, expected in zip(reference.shapes, reference.gradients, strict=True):
        error = np.linalg.norm(summary(gradient[name]) - expected) / np.linalg.norm(expected)
        assert error < 1e-4, name


def test_greedy_tokens_are_those_of_transformers(variant, reference):
    np.testing.assert_array_equal(greedy(variant).tokens, np.stack(reference.greedy))


def test_their_log_probabilities_are_those_of_transformers(variant, reference):
    found, expected = greedy(variant).log_probabilities, np.stack(reference.log_probabilities)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_so_they_are_where_drafts_are_read(source):
    # Its answers go in circles, so that there are drafts.
    reference = source("starcoder2")
    generated = greedy("starcoder2", draft_tokens=5)
    assert generated.forwards.max() < NEW_TOKENS
    tokens, found = generated.tokens[:, :NEW_TOKENS], generated.log_probabilities[:, :NEW_TOKENS]
    np.testing.assert_array_equal(tokens, np.stack(reference.greedy))
    np.testing.assert_allclose(found, np.stack(reference.log_probabilities), atol=1e-4, rtol=0)


def test_hidden_states_keep_the_compute_dtype(variant):
    config, parameters = model(variant)

    def hidden(batch):
        decoder = Decoder(config, ComputeConfig("bfloat16"), parameters)
        return decoder(batch["tokens"], batch["positions"], batch["segment_ids"])

    assert jax.eval_shape(hidden, rows_of([0])).dtype == jnp.bfloat16
