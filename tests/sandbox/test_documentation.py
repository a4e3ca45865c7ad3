"""The page on the sandbox names tests that there are."""

import re
from pathlib import Path

from tests.sandbox.arena import ROOT
from tests.sandbox.suite import CASES

PAGE = (ROOT / "docs" / "sandbox.md").read_text()
HERE = Path(__file__).parent


def test_every_test_that_it_names_exists():
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", PAGE)
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (HERE / file).exists() or f"def {test}" not in (HERE / file).read_text()
    ]
    assert missing == []


def test_every_hostile_program_that_it_names_exists():
    rows = [line.split("|")[3] for line in PAGE.splitlines() if line.count("|") == 5]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert named
    assert named <= set(CASES)
