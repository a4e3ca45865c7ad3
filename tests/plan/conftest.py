"""Real TPU topologies, for which libtpu compiles on any machine."""

import os

import pytest
from jax.experimental import topologies

# Another process, a test run beside this one, may have it loaded as well.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")


@pytest.fixture(scope="session")
def eight_chips():
    """The devices of a v5e of 2 x 4 chips."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    return list(topologies.get_topology_desc("v5e:2x4", "tpu").devices)
