"""cuDNN's attention as JAX computes it, for machines without a GPU."""

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn
from jax._src.interpreters import mlir


def emulate_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the kernel that sees what came before, or the first places, run on a CPU, in fp32 too."""
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    for check in ("check_is_flash_attention", "check_layout"):
        monkeypatch.setattr(cudnn, check, lambda *arrays: None)
    mlir.register_lowering(
        cudnn._dot_product_attention_fwd_p,
        mlir.lower_fun(_attention, multiple_results=True),
        platform="cpu",
    )


def _attention(
    query, key, value, bias, query_lengths, lengths, *others, scale, mask_type, layout, **choices
):
    positions_first = layout == cudnn.AttentionLayout.BTNH.value
    if positions_first:
        query, key, value = (array.swapaxes(1, 2) for array in (query, key, value))
    key, value = (
        jnp.repeat(array, query.shape[1] // key.shape[1], axis=1).astype(jnp.float32)
        for array in (key, value)
    )
    scores = jnp.einsum("bntd,bnsd->bnts", query.astype(jnp.float32), key) * scale
    places = jnp.arange(key.shape[2])
    match mask_type:
        case cudnn.MaskType.CAUSAL:
            seen = places <= jnp.arange(query.shape[2])[:, None]
        case cudnn.MaskType.PADDING:
            seen = (places < lengths[:, None])[:, None, None]
    scores = jnp.where(seen, scores, -jnp.inf)
    logarithms = jax.nn.logsumexp(scores, axis=-1)
    context = jnp.einsum("bnts,bnsd->bntd", jnp.exp(scores - logarithms[..., None]), value)
    context = context.astype(query.dtype)
    if positions_first:
        context = context.swapaxes(1, 2)
    return (context, logarithms) if choices["is_training"] else (context,)
