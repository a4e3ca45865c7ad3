"""What thousands of programs leave behind together: nothing."""

import json
import os
import secrets
from pathlib import Path

import pytest

from tests.sandbox import arena

RUNNER = str(Path(__file__).with_name("run_mixed.py"))
RUNS = int(os.environ.get("OCIJAX_SOAK_RUNS", "10000"))
SECONDS_A_RUN = 0.5
MEMORY_SLACK = 16 << 20


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("level", ["namespaces", "limits"])
@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_many_mixed_runs_leave_nothing_behind(user, level):
    lines, errors = arena.run(
        [RUNNER, json.dumps(arena.outside()), level, str(RUNS)],
        user,
        {"OCIJAX_SECRET": secrets.token_hex(16)},
        seconds=60 + SECONDS_A_RUN * RUNS,
    )
    assert len(lines) == 3, f"the harness ended before its time\n{errors}"
    warm, end, verdicts = lines
    assert verdicts == {"wrong": [], "sockets_reached": []}
    for what in ("processes", "zombies", "descriptors", "files", "mounts", "ipc"):
        assert end[what] <= warm[what], f"more {what} after {RUNS} runs"
    grown = end["resident_bytes"] - warm["resident_bytes"]
    assert grown <= MEMORY_SLACK, f"{grown} bytes more after {RUNS} runs"
