"""The second round of a refinement."""

import json

import pytest

from tests.benchmarks.conftest import rows, run

TIMES = ("first token, ms", "all, s")


@pytest.fixture
def data(tmp_path):
    """Three repairs as DebugBench writes them."""
    repairs = [
        {
            "slug": f"add-{number}",
            "description": f"Sort the list, add {number}. " * 3,
            "buggy_code": f"def add(a):\n    return a - {number}",
            "oracle_code": f"def add(a):\n    return a + {number}",
        }
        for number in range(3)
    ]
    (tmp_path / "python3_add.json").write_text(json.dumps(repairs))
    return tmp_path


def flags(data, tokenizer, *others: str) -> tuple[str, ...]:
    return (
        f"--data={data}",
        f"--tokenizer={tokenizer}",
        "--conversations=3",
        "--slots=2",
        "--feedback=10",
        "--program_seconds=0",
        *others,
    )


@pytest.mark.soak
def test_of_a_second_turn_no_more_is_read_than_is_new(data, tiny_tokenizer_file):
    done = run("two_rounds", *flags(data, tiny_tokenizer_file, "--history=180"))
    assert done.returncode in (0, 1), done.stderr
    told = rows(done.stdout)
    read, new, _ = told["tokens read (of new)"]
    assert read == new
    assert int(new) > 0
    assert all(float(number) > 0 for name in TIMES for number in told[name][:2])


def test_too_few_that_fit_the_history_are_refused_in_one_line(data, tiny_tokenizer_file):
    done = run("two_rounds", *flags(data, tiny_tokenizer_file, "--history=64"))
    assert done.returncode == 1
    assert done.stderr == (
        f"error: --conversations=3: of --data={data} only 0 are short enough for --history=64\n"
    )
