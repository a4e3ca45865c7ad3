import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module", params=[("float64", 1e-9), ("float32", 1e-5)], ids=lambda p: p[0])
def runs(request):
    """Losses by mesh, and how close they must be."""
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


def test_three_meshes_of_eight_devices_give_the_losses_of_one(runs):
    by_mesh, tolerance = runs
    alone = by_mesh["one device"]["losses"]
    assert alone[-1] < alone[0] - 0.5, "it learns, so the updates count"
    assert len(by_mesh) == 4
    for name, run in by_mesh.items():
        np.testing.assert_allclose(run["losses"], alone, rtol=tolerance, err_msg=name)


def test_each_mesh_compiles_its_step_exactly_once(runs):
    assert {name: run["compiled"] for name, run in runs[0].items()} == dict.fromkeys(runs[0], 1)


def test_no_parameter_is_left_replicated(runs):
    assert not any(run["replicated"] for run in runs[0].values())
