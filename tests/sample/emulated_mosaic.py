"""What JAX's interpreter of Mosaic GPU leaves out, for kernels on a CPU."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks
from jax._src.state.types import TransposeTransform
from jax.experimental.pallas import mosaic_gpu as plgpu

from ocijax.sample import fused_products


def emulate_mosaic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has products by transposed weights run; layouts, registers and fences it goes without."""
    left_out = (*gpu_callbacks.NOOP_TRANSFORMS, TransposeTransform)
    shared_memory = plgpu.SMEM

    def without_noop(transforms):
        return tuple(one for one in transforms if not isinstance(one, left_out))

    def matmul(one, transposed, dtype):
        return one.astype(dtype) @ transposed.astype(dtype).T

    monkeypatch.setattr(gpu_callbacks, "_remove_noop_transforms", without_noop)
    monkeypatch.setattr(gpu_callbacks, "np", SimpleNamespace(**vars(np) | {"matmul": matmul}))
    for module, name, emulated in (
        (fused_products, "_load", lambda ref, layout, optimized=True: ref[...]),
        (fused_products, "_have_copies_see_stores", lambda: None),
        (plgpu, "SMEM", lambda shape, dtype, transforms=(): shared_memory(shape, dtype)),
        (plgpu, "set_max_registers", lambda count, action: None),
        (plgpu, "broadcasted_iota", lambda *args, layout: jax.lax.broadcasted_iota(*args)),
    ):
        monkeypatch.setattr(module, name, emulated)
