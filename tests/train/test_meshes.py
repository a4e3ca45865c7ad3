import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from ocijax.train.step import trained_table
from tests.train.mesh_losses import RECIPE


# In float64 nothing is lost in rounding: the narrower type, as trained in, is for the soak.
@pytest.fixture(
    scope="module",
    params=[("float64", 1e-9), pytest.param(("float32", 1e-5), marks=pytest.mark.soak)],
    ids=lambda p: p[0],
)
def printed(request):
    """What mesh_losses.py printed, and how close the losses must be."""
    dtype, tolerance = request.param
    child = subprocess.run(
        [sys.executable, "-m", "tests.train.mesh_losses"],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "JAX_ENABLE_X64": str(dtype == "float64"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout), tolerance


@pytest.mark.parametrize(
    ("trained", "fall"),
    [("all parameters", 0.5), ("an adapter", 0.05), ("all but the embedding", 0.5)],
)
def test_meshes_of_eight_devices_give_the_losses_of_one(printed, trained, fall):
    runs, tolerance = printed[0]["runs"][trained], printed[1]
    alone = runs["one device"]["losses"]
    assert alone[-1] < alone[0] - fall, "the updates count"
    assert len(runs) == (6 if trained == "all parameters" else 2)
    for name, run in runs.items():
        np.testing.assert_allclose(run["losses"], alone, rtol=tolerance, err_msg=name)


def test_each_mesh_compiles_its_step_exactly_once(printed):
    runs = [run for runs in printed[0]["runs"].values() for run in runs.values()]
    assert [run["compiled"] for run in runs] == [1] * len(runs)


def test_no_parameter_is_left_replicated(printed):
    eight = dict(printed[0]["runs"]["all parameters"])
    del eight["one device"]
    assert not any(run["replicated"] for run in eight.values())


def test_initial_parameters_do_not_depend_on_the_mesh(printed):
    assert printed[0]["same initial parameters"]


def test_fsdp_gathers_parameters_and_scatters_gradients(printed):
    table = trained_table(RECIPE)
    sent = [
        (kind, sorted(size for size in shape if size > 1))
        for kind, shape, group_size in printed[0]["sent"]
        if group_size > 1
    ]
    parameters = [sorted(spec.layer_shape) for spec in table.values()]
    gathers = [shape for kind, shape in sent if kind == "all-gather"]
    assert gathers
    assert all(shape in parameters for shape in gathers)
    assert not any(shape for kind, shape in sent if kind == "all-reduce"), "only sums of losses"
    scattered = {math.prod(shape) for kind, shape in sent if kind == "reduce-scatter"}
    assert scattered == {math.prod(spec.layer_shape) for spec in table.values()}


def test_a_gradient_scattered_in_stages_is_that_scattered_at_once(printed):
    at_once, *staged = (np.array(gradient) for gradient in printed[0]["scattered"])
    for gradient in staged:
        np.testing.assert_allclose(gradient, at_once, rtol=1e-5)
