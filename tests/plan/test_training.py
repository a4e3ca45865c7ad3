import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from configs.deepseek_coder_1_3b import get_config
from ocijax.errors import InputError
from ocijax.model.decoder import ComputeConfig
from ocijax.model.lora import LoraConfig
from ocijax.model.parameters import parameter_count, parameter_table
from ocijax.plan import training
from ocijax.plan.collectives import wire_bytes_by_kind
from ocijax.plan.recipe import recipe_without_files
from ocijax.plan.topology import find_devices
from ocijax.plan.training import (
    REMATS,
    plan_best,
    plan_fastest_remat,
    plan_training,
    with_fastest_remat,
)
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.trainer import train
from tests.launch.runs import free_port
from tests.train.conftest import conversation_file, recipe  # noqa: F401  fixtures

COUNTERS = 6 * 4
"""Bytes of the scalars in the optimizer's state: AdamW's two and the guard's four."""

H200_PEAKS = {"none": 83844046772, "projections": 52512475828, "attention": 37477526452}
"""Bytes, of `launch.plan` on an H200 (jax 0.11.2): DeepSeek-Coder 1.3B, four rows, scanned."""


@pytest.fixture(scope="module")
def compiled(tiny, four_chips):
    """The plan of the tiny recipe on four chips."""
    return plan_training(tiny, four_chips)


@pytest.fixture
def limit(monkeypatch):
    """Sets how much memory devices have."""
    return lambda size: monkeypatch.setattr(training, "memory_limit", lambda device: size)


def test_a_device_holds_its_part_of_the_state(compiled, tiny):
    """Four bytes a parameter and twice that for the moments, over four chips, and counters."""
    size = parameter_count(tiny.model)
    assert compiled.parameters == 4 * size / 4
    assert compiled.optimizer == 2 * 4 * size / 4 + COUNTERS
    batch = 4 * 4 * 128  # four arrays of a row
    ideal = compiled.parameters + compiled.optimizer + batch
    assert compiled.memory.arguments == pytest.approx(ideal, rel=0.02)


def test_the_step_is_compiled_for_the_topology(compiled):
    assert compiled.compiled
    assert (compiled.devices, compiled.device_kind) == (4, "TPU v5 lite")
    assert compiled.mesh == {"data": 1, "fsdp": 4, "context": 1, "tensor": 1}
    assert compiled.rows == 1
    assert compiled.fits
    assert any(one.kind == "all-gather" for one in compiled.collectives)
    # Parameters along one side of the 2 x 2 chips at a time, the loss's sums over all of them.
    assert {one.group_size for one in compiled.collectives} == {2, 4}


def test_operations_a_token_are_six_a_weight_and_those_of_attention(compiled, tiny):
    model = tiny.model
    matrices = sum(spec.size for spec in parameter_table(model).values() if spec.inputs)
    attention = 12 * model.num_hidden_layers * model.num_attention_heads * model.head_dim
    assert compiled.flops_per_token == 6 * matrices + attention * (128 + 1) / 2


def test_a_step_that_a_tpu_refuses_does_not_fit(tiny, change, four_chips):
    plan = plan_training(change(tiny, batch_size=1 << 17, remat="none"), four_chips)
    assert not plan.fits
    assert plan.memory.temporaries > plan.memory_limit
    assert plan.memory.arguments > plan.parameters + plan.optimizer


def test_slices_send_each_other_the_gradients_once_a_step(tiny, change):
    """In fp32, each chip those of its part of the parameters, and the loss."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    parts = change(tiny, batch_size=8, micro_batches=2)
    plan = plan_training(replace(parts, mesh=MeshConfig(2, fsdp=-1)), find_devices("v5e:1x2:2"))
    assert plan.mesh == {"data": 2, "fsdp": 2, "context": 1, "tensor": 1}
    sent = wire_bytes_by_kind(plan.collectives)["between-slices"]
    assert sent == pytest.approx(plan.parameters, rel=0.02)


def test_what_nothing_here_compiles_for_is_an_estimate(tiny):
    plan = plan_training(tiny, find_devices("h200:4"))
    assert not plan.compiled
    assert plan.collectives == ()
    assert plan.parameters == 4 * parameter_count(tiny.model) / 4
    assert plan.memory.temporaries > 0


def test_an_estimate_gives_each_device_along_context_its_part_of_the_rows(tiny):
    gpus = find_devices("h200:4")
    masked = replace(tiny, compute=ComputeConfig(attention="masked"))
    whole, parts = (
        plan_training(replace(masked, mesh=mesh), gpus).memory.temporaries
        for mesh in (MeshConfig(1, fsdp=4), MeshConfig(1, fsdp=2, context=2))
    )
    assert parts == whole, "twice the rows, half of each"


@pytest.mark.parametrize(("remat", "compiled"), H200_PEAKS.items())
def test_an_estimate_is_near_what_the_compiler_says_on_such_a_gpu(remat, compiled):
    changes = {"train.micro_batches": 16, "train.remat": remat, "compute.scan_layers": True}
    config = get_config("h200:1")
    config.update_from_flattened_dict(changes)
    plan = plan_training(recipe_without_files(config.to_dict()), find_devices("h200:1"))
    assert plan.memory.peak == pytest.approx(compiled, rel=0.02)


def test_an_adapter_is_planned_with_the_model_under_it(tiny, change):
    """The model in bfloat16, and of what is trained four bytes and eight for its moments."""
    under = change(tiny, initial_checkpoint="absent")
    plan = plan_training(replace(under, lora=LoraConfig(rank=1)), find_devices("h200:1"))
    adapter = (plan.optimizer - COUNTERS) / 2
    assert plan.parameters == 2 * parameter_count(tiny.model) + adapter
    assert adapter < 0.05 * plan.parameters


@pytest.mark.parametrize(
    ("topology", "dtype", "context", "bytes_a_pair"),
    [
        ("a100:4", "bfloat16", 1, 12),  # weights and their gradients, in fp32 and in bfloat16
        ("h200:4", "bfloat16", 2, 12),
        ("h200:4", "float32", 1, 8),
    ],
)
def test_an_estimate_counts_each_pair_of_positions_where_attention_is_masked(
    topology, dtype, context, bytes_a_pair, tiny
):
    mesh, gpus = MeshConfig(1, fsdp=-1, context=context), find_devices(topology)
    temporaries = []
    for length in (256, 512, 1024):
        data, compute = replace(tiny.data, length=length), ComputeConfig(dtype)
        plan = plan_training(replace(tiny, data=data, compute=compute, mesh=mesh), gpus)
        temporaries.append(plan.memory.temporaries)
    # All else grows with the length, or not at all.
    once, twice, four_times = temporaries
    squares = (four_times - twice) - 2 * (twice - once)
    pairs = 2 * 256 * 256 * (4**2 - 2**2 - 2 * (2**2 - 1))
    assert squares == bytes_a_pair * pairs


def test_a_frozen_embedding_has_no_gradient(tiny, change):
    plans = [
        plan_training(change(tiny, freeze_embedding=frozen), find_devices("h200:4"))
        for frozen in (False, True)
    ]
    spared = plans[0].memory.temporaries - plans[1].memory.temporaries
    assert spared == 4 * parameter_table(tiny.model)["embedding"].size / 4


# What is offloaded is not on the device: there it holds as much as with "attention".
@pytest.mark.parametrize("remat", [remat for remat in REMATS if remat != "offload"])
def test_the_fastest_remat_holds_less_as_memory_shrinks(remat, tiny, change, limit):
    gpus = find_devices("h200:4")
    limit(plan_training(change(tiny, remat=remat), gpus).memory.peak)
    assert plan_fastest_remat(tiny, gpus).remat == remat
    assert plan_training(change(tiny, remat="auto"), gpus).remat == remat


def test_processes_with_different_memory_choose_what_fits_all(tiny, change):
    address = f"localhost:{free_port()}"
    peaks = [
        plan_training(change(tiny, remat=remat), find_devices("h200:4")).memory.peak
        for remat in ("none", "attention")
    ]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.plan.remat_of_processes", address, str(index), str(peak)],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index, peak in enumerate(peaks)
    ]
    written = [child.communicate(timeout=120)[0] for child in children]
    assert [lines.split()[-1] for lines in written] == ["attention"] * 2


@pytest.mark.soak
def test_the_fastest_remat_is_found_by_compiling(tiny, change, four_chips):
    plan = plan_fastest_remat(change(tiny, batch_size=4 * 8192), four_chips)
    assert plan.compiled
    assert plan.fits
    assert plan.remat in ("projections", "attention")


def test_the_best_plan_has_the_most_rows_beside_the_fastest_remat(tiny, change, limit):
    gpus = find_devices("h200:4")
    limit(plan_training(change(tiny, remat="none", batch_size=32), gpus).memory.peak)
    best = plan_best(tiny, gpus)
    assert (best.remat, best.rows, best.batch_size) == ("none", 8, 32)


def test_the_best_plan_has_fewer_rows_where_no_remat_fits(tiny, change, limit):
    gpus = find_devices("h200:4")
    limit(plan_training(change(tiny, remat="full", batch_size=8), gpus).memory.peak)
    best = plan_best(change(tiny, batch_size=64), gpus)
    assert (best.remat, best.rows, best.fits) == ("full", 2, True)
    limit(1)
    assert not plan_best(change(tiny, batch_size=64), gpus).fits


def test_a_batch_that_leaves_devices_without_rows_is_refused(tiny, change):
    with pytest.raises(InputError, match=r"batch_size \(2\) must be a multiple of .* 4 devices"):
        plan_best(change(tiny, batch_size=2), find_devices("h200:4"))


def test_training_refuses_a_step_that_fits_in_no_way(tiny, change, limit):
    mesh = make_mesh(MeshConfig(), find_devices("h200:4"))
    limit(1)
    with pytest.raises(InputError, match=r"config.train.remat: not even 'full' fits"):
        with_fastest_remat(change(tiny, remat="auto"), mesh)


def test_training_records_the_remat_that_it_chose_and_goes_on(
    recipe,  # noqa: F811
    change,
    tmp_path,
):
    auto = change(recipe, remat="auto", steps=2)
    for stop in (lambda step: True, lambda step: False):
        ended = train(auto, tmp_path, stop=stop)
        recorded = json.loads((tmp_path / "config.json").read_text())
        assert recorded["train"]["remat"] == "none"
    assert ended.step == 2
