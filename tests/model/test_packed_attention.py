"""Kernels for packed rows against the masked reference in float64, each where it can run."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ocijax.errors import InputError
from ocijax.model.attention import masked_attention, packed_mask
from ocijax.model.decoder import ComputeConfig, Decoder
from ocijax.model.packed_attention import check_kernel, choose_kernel, packed_attention
from ocijax.model.parameters import init_parameters
from ocijax.model.splash import splash_attention
from tests.train.conftest import MODEL

LENGTH, HEADS, GROUPS, HEAD_DIM = 256, 4, 2, 64
SEGMENTS = {
    "one segment": [[LENGTH]],
    "one-token segments": [[1, 1, 1, 100, 1, 120], [1] * 8],
    "a row of padding": [[60, 70], []],
    "two full rows": [[128, 128], [17, 239]],
}
"""Lengths of the segments of each row; the rest is padding."""

hopper = pytest.mark.skipif(
    jax.default_backend() != "gpu" or float(jax.devices()[0].compute_capability) < 9,
    reason="needs a Hopper GPU or a newer one",
)


def packed(lengths):
    """Positions and segment ids of rows with segments of these lengths."""
    ids = np.zeros((len(lengths), LENGTH), np.int32)
    positions = np.zeros_like(ids)
    for row, sizes in enumerate(lengths):
        for number, size in enumerate(sizes, start=1):
            start = sum(sizes[: number - 1])
            ids[row, start : start + size] = number
            positions[row, start : start + size] = np.arange(size)
    return positions, ids


def arrays(rows):
    """Query, key, value, and a cotangent of what attention gives."""
    random = np.random.default_rng(0)
    shapes = [(rows, LENGTH, heads, HEAD_DIM) for heads in (HEADS, GROUPS, GROUPS, HEADS)]
    return [random.standard_normal(shape) for shape in shapes]


def context_and_gradients(attend, values, cotangent, real):
    """What attention gives and its gradients, padding left out, in float64."""
    context, backward = jax.vjp(attend, *values)
    gradients = backward(cotangent * real[:, :, None, None].astype(cotangent.dtype))
    return [np.asarray(array, np.float64)[real] for array in (context, *gradients)]


def reference(lengths, window):
    positions, ids = packed(lengths)
    *values, cotangent = arrays(len(lengths))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        mask = packed_mask(jnp.asarray(positions), jnp.asarray(ids), window)
        return context_and_gradients(
            jax.jit(lambda *values: masked_attention(*values, mask)),
            [jnp.asarray(value) for value in values],
            jnp.asarray(cotangent),
            ids > 0,
        )


def agree(ours, theirs, tolerance):
    for name, one, other in zip(("context", "query", "key", "value"), ours, theirs, strict=True):
        assert np.isfinite(one).all(), name
        error = np.linalg.norm(one - other) / np.linalg.norm(other)
        assert error < tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("lengths", SEGMENTS.values(), ids=SEGMENTS)
def test_splash_gives_what_the_mask_gives(lengths, window):
    _, ids = packed(lengths)
    *values, cotangent = (jnp.asarray(array, jnp.float32) for array in arrays(len(lengths)))
    ours = context_and_gradients(
        lambda *values: splash_attention(*values, jnp.asarray(ids), window, interpret=True),
        values,
        cotangent,
        ids > 0,
    )
    agree(ours, reference(lengths, window), 1e-5)


@hopper
@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("lengths", SEGMENTS.values(), ids=SEGMENTS)
def test_cudnn_gives_what_the_mask_gives(lengths, window):
    positions, ids = packed(lengths)
    *values, cotangent = (jnp.asarray(array, jnp.bfloat16) for array in arrays(len(lengths)))
    rows = jnp.asarray(positions), jnp.asarray(ids)

    @jax.jit
    def attend(*values):
        return packed_attention("cudnn", *rows, window, max_segments=8)(*values)

    ours = context_and_gradients(attend, values, cotangent, ids > 0)
    agree(ours, reference(lengths, window), 1e-2)


@hopper
@pytest.mark.parametrize("window", [None, 40])
def test_cudnn_gives_what_the_mask_gives_where_a_row_holds_one_segment_at_most(window):
    lengths = [[LENGTH], [100]]
    positions, ids = packed(lengths)
    *values, cotangent = (jnp.asarray(array, jnp.bfloat16) for array in arrays(2))
    rows = jnp.asarray(positions), jnp.asarray(ids)
    attend = jax.jit(packed_attention("cudnn", *rows, window, max_segments=1))
    ours = context_and_gradients(attend, values, cotangent, ids > 0)
    agree(ours, reference(lengths, window), 1e-2)


@hopper
@pytest.mark.parametrize("allowed", [1, 4])
def test_cudnn_gives_no_numbers_where_a_row_has_more_segments_than_allowed(allowed):
    positions, ids = packed([[10] * 5, [10]])
    decoder = Decoder(
        MODEL,
        ComputeConfig(attention="cudnn", max_segments=allowed),
        init_parameters(MODEL, jax.random.key(0)),
    )
    hidden = np.asarray(decoder(ids, positions, ids), np.float32)
    assert np.isnan(hidden[0]).all()
    assert np.isfinite(hidden[1]).all()


def test_a_device_without_a_kernel_of_its_own_computes_with_the_mask():
    assert choose_kernel(MODEL, "float32", LENGTH, jax.devices("cpu")[0]) == "masked"


class Device:
    """What choosing asks of a device."""

    def __init__(self, platform, capability=""):
        self.platform = self.device_kind = platform
        self.compute_capability = capability


@pytest.mark.parametrize(
    ("device", "dtype", "length", "kernel"),
    [
        (Device("tpu"), "bfloat16", 256, "splash"),
        (Device("tpu"), "bfloat16", 200, "masked"),
        (Device("gpu", "9.0"), "bfloat16", 200, "cudnn"),
        (Device("gpu", "9.0"), "float32", 256, "masked"),
        (Device("gpu", "8.0"), "bfloat16", 256, "masked"),
    ],
)
def test_the_fastest_kernel_that_runs_is_chosen(device, dtype, length, kernel):
    assert choose_kernel(MODEL, dtype, length, device) == kernel


@pytest.mark.parametrize(
    ("kernel", "device", "dtype", "head_dim", "message"),
    [
        ("splash", Device("gpu", "9.0"), "bfloat16", 64, "'splash' runs on TPU, not on gpu"),
        ("cudnn", Device("tpu"), "bfloat16", 64, "'cudnn' runs on Hopper and newer GPUs"),
        ("cudnn", Device("gpu", "9.0"), "float32", 64, "'cudnn' computes in bfloat16"),
        ("cudnn", Device("gpu", "9.0"), "bfloat16", 260, "up to 256, not 260; choose 'auto'"),
    ],
)
def test_a_kernel_that_does_not_run_is_refused_with_the_reason(
    kernel, device, dtype, head_dim, message
):
    with pytest.raises(InputError, match=message):
        check_kernel(kernel, replace(MODEL, head_dim=head_dim), dtype, 256, device)
