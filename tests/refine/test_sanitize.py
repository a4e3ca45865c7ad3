"""Programs out of replies, beside those that EvalPlus 0.3.1's own sanitizers make of them.

Recorded by tests/golden/make_sanitized.py; of more replies, where EvalPlus is installed.
"""

import importlib.util
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocijax.refine.extract import extract_code
from ocijax.refine.sanitize import SANITIZERS, evalplus_sanitize

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "sanitized.json").read_text())
NEEDED = ("evalplus", "tree_sitter", "tree_sitter_python")


@pytest.mark.parametrize("name", ["evalplus", "paper"])
@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: repr(row["reply"])[:40])
def test_the_program_is_that_of_evalplus(row, name):
    program = SANITIZERS[name](row["reply"], row["entry_point"])
    assert program == (row[name] if row[name].strip() else None)


def test_ours_is_the_one_that_looks_for_fences():
    assert SANITIZERS["fenced"] is extract_code


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end):
    code = end.join(["import math", "def f(x):", "    return x", "print(f(1))"])
    assert evalplus_sanitize(code, "f").split() == ["import", "math", "def", "f(x):", "return", "x"]


def test_without_an_entry_point_every_definition_is_kept():
    code = "def f(x):\n    return x\ny = 3"
    assert evalplus_sanitize(f"{code}\nprint(y)") == code


@given(st.text(alphabet="`~ \n\tpython#x=1{}()def:\r\0\udc80é", max_size=60))
@pytest.mark.parametrize("name", SANITIZERS)
def test_any_reply_gives_code_or_none(name, reply):
    code = SANITIZERS[name](reply, "x")
    assert code is None or code.strip()


def dressed(code: str, name: str, chance: random.Random) -> str:
    """The code as a reply may hold it."""
    cut = code[: chance.randrange(1, len(code))]
    return chance.choice(
        [
            code,
            f"```python\n{code}\n```",
            f"Here's the solution:\n\n```python\n{code}```\nIt works so: it loops, then returns.\n",
            f"Sure!\n```\n{code.replace('return', 'retrun')}\n```\nNo:\n```python\n{code}\n```",
            cut,
            f"```python\n{cut}",
            f"{code}\n\nprint({name}(1))\nif __name__ == '__main__':\n    {name}(3)\n",
            f"I think.\n\n{code}\n# done\nThat is all",
            f"```python\n{code}\n```\n\nUse it:\n\n```python\nprint({name}(3))\ny = {name}(4)\n```",
        ]
    )


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_programs_of_debugbench_come_out_as_by_evalplus(data_dir, tmp_path, count):
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    chance = random.Random(0)
    programs = [
        row[kind]
        for path in sorted((data_dir / "debugbench").glob("*.json"))
        for row in json.loads(path.read_text())
        for kind in ("oracle_code", "buggy_code")
    ]
    replies = []
    for code in chance.sample(programs, count):
        method = re.search(r"def (\w+)", code)
        name = chance.choice(["Solution", method[1] if method else "f"])
        replies.append((dressed(code.replace("\r", ""), name, chance), name))
    path = tmp_path / "replies.json"
    path.write_text(json.dumps(replies))
    command = [sys.executable, "-m", "tests.golden.make_sanitized", str(path)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for row in json.loads(child.stdout):
        for name in ("evalplus", "paper"):
            ours = SANITIZERS[name](row["reply"], row["entry_point"])
            assert (ours or "") == row[name]
