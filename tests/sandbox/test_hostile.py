"""The hostile suite: the right verdict on every program, and nothing left of it afterwards.

Each batch of cases runs in an arena, in one harness process as `run_hostile.py` has it. As root it
is also run as an ordinary user, in arenas of its own.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sandbox import arena
from tests.sandbox.suite import CASES, DEADLINE_SECONDS, LIMITS, cases_at

RUNNER = str(Path(__file__).with_name("run_hostile.py"))
REPEATS = int(os.environ.get("OCIJAX_SOAK_REPEATS", "50"))
BATCHES = [(user, level) for level in ("namespaces", "limits") for user in ("root", "ordinary")]

_AT_A_TIME = 2  # batches: each may hold a little more than the memory limit of its programs
_START_SECONDS = 60.0
_CASE_SECONDS = 20.0
_SLACK_BYTES = 64 << 20


def observed(user: str, level: str, names: list[str]) -> list[dict]:
    """What each case did, in order; of one in which the harness ended only ``died``.

    Raises:
      Unavailable: there can be no arena for this user.
    """
    records = []
    while len(records) < len(names):
        remaining = names[len(records) :]
        lines, errors = arena.run(
            [RUNNER, json.dumps(arena.outside()), level, *remaining],
            user,
            {"OCIJAX_SECRET": secrets.token_hex(16)},
            _START_SECONDS + _CASE_SECONDS * len(remaining),
        )
        stopped = False
        for line in lines:
            if "stopped" in line:
                stopped = True
            else:
                records.append(line | {"stopped": stopped})
                stopped = False
        if len(records) < len(names):
            records.append({"case": names[len(records)], "died": errors[-4000:]})
    return records


def assert_sound(record: dict) -> None:
    """Checks the verdict on a case, and everything that must hold after it."""
    case = CASES[record["case"]]
    told = f"{case.name} ({case.attack})"
    assert "died" not in record, f"the harness ended in {told}\n{record['died']}"
    assert record["verdict"] in case.accept, f"wrong verdict on {told}"
    assert not record["stopped"], f"the harness was stopped by {told}"
    assert record["processes_left"] == [], f"still running 1 s after {told}"
    assert record["files_changed"] == [], f"made, changed or removed outside by {told}"
    assert record["mounts_left"] == 0, f"mount points left by {told}"
    assert record["ipc_left"] == 0, f"IPC objects left by {told}"
    assert record["sockets_reached"] == [], f"sockets outside reached by {told}"
    assert not record["secret_in_report"], f"the secret was read by {told}"
    assert record["unserialisable"] == "", f"no JSON can be made of the report on {told}"
    # An undecodable byte is written as four.
    assert record["stdout_bytes"] <= 4 * LIMITS.output_bytes + 100, f"too much kept of {told}"
    assert record["harness_bytes"] <= _SLACK_BYTES, f"memory of ours taken by {told}"
    assert record["all_bytes"] <= LIMITS.memory_bytes + _SLACK_BYTES, f"memory taken by {told}"
    assert record["seconds"] <= DEADLINE_SECONDS + 2, f"too late a verdict on {told}"
    assert record["next_verdicts"] == ["pass", "fail"], f"wrong verdicts after {told}"


@pytest.fixture(scope="session")
def batches(request):
    """For each batch what its cases did, by name; only those that were asked for are run."""
    wanted = {batch: [] for batch in BATCHES}
    for item in request.session.items:
        if item.originalname == test_a_hostile_program_gets_nowhere.__name__:
            parameters = item.callspec.params
            wanted[parameters["user"], parameters["level"]].append(parameters["name"])
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        yield {
            batch: threads.submit(observed, *batch, names)
            for batch, names in wanted.items()
            if names
        }


@pytest.mark.parametrize(
    ("user", "level", "name"),
    [(user, level, name) for user, level in BATCHES for name in cases_at(level)],
)
def test_a_hostile_program_gets_nowhere(batches, user, level, name):
    records = {record["case"]: record for record in batches[user, level].result()}
    assert_sound(records[name])


def test_hostile_programs_run_nowhere_but_in_an_arena():
    for outside in (json.dumps(arena.outside()), "{}"):
        done = subprocess.run(
            [sys.executable, RUNNER, outside, "namespaces", "ok_plain"],
            env=os.environ | {"PYTHONPATH": str(arena.ROOT), "OCIJAX_SECRET": "token"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("refused: in the same namespaces as the caller")


@pytest.mark.parametrize(
    ("end", "record"),
    [
        ("os.kill(os.getpid(), signal.SIGSTOP); print('{}')", [{"stopped": True}, {}]),
        ("print('{}', flush=True); os.kill(os.getpid(), signal.SIGKILL)", [{}]),
        ("print('{}', flush=True); time.sleep(60)", [{}]),
    ],
    ids=["stopped", "killed", "hanging"],
)
def test_an_arena_outlasts_a_harness_that_is(end, record):
    command = ["-c", f"import os, signal, time; {end}"]
    lines, errors = arena.run(command, "ordinary", {}, seconds=5)
    assert (lines, errors) == (record, "")


def test_the_rest_is_run_when_the_harness_ends_within_a_case():
    records = observed("ordinary", "limits", ["ok_plain", "no case", "wrong_answer"])
    assert [record.get("verdict") for record in records] == ["pass", None, "fail"]
    assert "KeyError: 'no case'" in records[1]["died"]


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("load", ["alone", "busy"])
@pytest.mark.parametrize(("user", "level"), BATCHES)
def test_it_gets_nowhere_time_after_time(user, level, load):
    cores = len(os.sched_getaffinity(0)) if load == "busy" else 0
    with _busy(cores):
        records = observed(user, level, cases_at(level) * REPEATS)
    assert [told for record in records for told in _unsound(record)] == []


def _unsound(record: dict) -> list[str]:
    """What `assert_sound` has against a case: so long a run tells all of it, not the first."""
    try:
        assert_sound(record)
    except AssertionError as fault:
        return [str(fault)]
    return []


@contextlib.contextmanager
def _busy(cores: int):
    """Keeps so many cores busy meanwhile."""
    command = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(cores):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield
