"""The published figures agree with what their sources say of them elsewhere."""

import pytest

from ocijax.report.protocols import LABELS
from ocijax.report.published import published_rows, release, tasks_of_mbpp

ROWS = published_rows()


def find(model, size, protocol, version="v0.1.0"):
    [row] = [
        row
        for row in ROWS
        if (row.model, row.size, row.protocol, row.mbpp_version) == (model, size, protocol, version)
    ]
    return row


def test_every_row_has_a_source_and_a_known_protocol():
    for row in ROWS:
        assert row.source.address.startswith("https://")
        assert row.protocol in LABELS


def test_averages_are_those_of_the_two_benchmarks():
    averaged = [row for row in ROWS if row.average[0] is not None]
    assert len(averaged) > 50
    for row in averaged:
        for one, other, average in zip(row.humaneval, row.mbpp, row.average, strict=True):
            assert average == pytest.approx((one + other) / 2, abs=0.101), row


@pytest.mark.parametrize(
    ("model", "size", "protocol", "solved"),
    # Tasks of 164 and 399: HumanEval, HumanEval+, MBPP, MBPP+.
    [
        ("OCI-DS", "6.7B", "single", (125, 118, 295, 254)),
        ("OCI-DS", "6.7B", "execution_oracle", (133, 129, 330, 289)),
        ("OCI-DS", "33B", "execution_oracle", (136, 132, 333, 288)),
        ("OCI-CL", "7B", "single", (119, 111, 265, 221)),
        ("OCI-DS", "1.3B", "execution_oracle", (107, 102, 260, 222)),
    ],
)
def test_the_papers_percentages_are_of_164_and_399_tasks(model, size, protocol, solved):
    row = find(model, size, protocol)
    counts = zip(solved, (164, 164, 399, 399), (*row.humaneval, *row.mbpp), strict=True)
    for count, tasks, published in counts:
        assert 100 * count / tasks == pytest.approx(published, abs=0.051)


def test_the_papers_headline_is_there():
    assert find("OCI-DS", "33B", "execution_oracle").average == (83.2, 76.4)
    assert find("OCI-DS", "33B", "human_oracle").average == (91.6, 84.6)


def test_releases_are_known_by_their_digest(data_dir):
    from ocijax.judge.evalplus import file_digest

    for name, file, version, tasks in (
        ("humaneval", "humanevalplus/HumanEvalPlus.jsonl.gz", "v0.1.10", 164),
        ("mbpp", "mbppplus/MbppPlus.jsonl.gz", "v0.2.0", 378),
    ):
        known = release(name, file_digest(data_dir / file))
        assert (known.version, known.tasks) == (version, tasks)


def test_the_papers_mbpp_is_known_by_its_digest():
    known = release("mbpp", "ebe95df0d5220f00cedd6f4bddea35e4")
    assert (known.version, known.tasks) == ("v0.1.0", tasks_of_mbpp("v0.1.0"))
    assert known.source == "https://github.com/evalplus/mbppplus_release/tree/v0.1.0"


def test_a_file_of_other_tasks_is_no_release():
    assert release("mbpp", "0" * 32) is None
    assert release("adding", "0" * 32) is None
    assert tasks_of_mbpp("unstated") is None
