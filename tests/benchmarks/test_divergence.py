"""Where greedy answers differ with tokens looked up and without."""

import re

from tests.benchmarks.conftest import run


def test_each_difference_is_told_and_one_above_the_threshold_is_the_exit_status():
    done = run(
        "divergence", "--prompts=24", "--slots=8", "--prompt=16", "--new=40", "--threshold=0"
    )
    count, asked = map(int, re.search(r"(\d+) of (\d+) answers differ", done.stdout).groups())
    gaps = re.findall(r"^ +\d+ +\d+ +\d+ +\d+ +(\d+\.\d+)$", done.stdout, re.MULTILINE)
    assert (asked, len(gaps)) == (24, count)
    assert done.returncode == (count > 0), done.stderr


def test_a_gap_is_one_that_rounding_can_have_closed_unless_it_is_said_otherwise():
    done = run("divergence", "--prompts=2", "--slots=2", "--prompt=16", "--new=20")
    most = float(re.search(r"rounding moves a gap by .*, at most (\d\.\d+)$", done.stdout, re.M)[1])
    gaps = re.findall(r"^ +\d+ +\d+ +\d+ +\d+ +(\d+\.\d+)$", done.stdout, re.MULTILINE)
    assert 0 < most < 1
    assert done.returncode == any(float(gap) > most for gap in gaps), done.stderr


def test_a_checkpoint_wants_conversations():
    done = run("divergence", "--checkpoint=absent")
    assert done.returncode == 1
    assert done.stderr == "error: --checkpoint: give --conversations=FILE with what to ask it\n"
