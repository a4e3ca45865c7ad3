"""Requests of all lengths at once."""

from tests.benchmarks.conftest import rows, run


def test_busy_slots_and_the_time_beside_the_ideal_are_told():
    done = run(
        "mixed_load",
        "--requests=40",
        "--slots=2",
        "--shortest_prompt=8",
        "--longest_prompt=60",
        "--shortest_answer=4",
        "--longest_answer=16",
    )
    assert done.returncode in (0, 1), done.stderr
    told = rows(done.stdout)
    busy, least = (float(told[name][0].rstrip("%")) for name in ("slots busy", "least a second"))
    assert 0 <= least <= busy <= 100
    ideal, bar = map(float, told["times the ideal"])
    assert done.returncode == (least < 80 or ideal > bar)
