"""What the tables of a report say."""

import pytest

from ocijax.report.contents import tables
from ocijax.report.runs import find_runs
from tests.report.conftest import judged, row, write_run

HUMANEVAL = {"benchmark": "humaneval", "version": "fe585eb4df8c88d844eeb463ea4d0302"}
MBPP = {"benchmark": "mbpp", "version": "ee43ecabebf20deef4bb776a405ac5b1"}
MBPP_OF_THE_PAPER = {"benchmark": "mbpp", "version": "ebe95df0d5220f00cedd6f4bddea35e4"}


def rows(count, solved, solved_plus):
    return [judged(f"t/{n}", n < solved, n < solved_plus) for n in range(count)]


def made(place, ks=()):
    """Tables by name, each as dicts of what cells show."""
    return {
        table.name: [
            dict(zip((column.name for column in table.columns), table.cells(one), strict=True))
            for one in table.rows
        ]
        for table in tables(find_runs([place]), ks)
    }


@pytest.fixture
def paper(tmp_path):
    """Two protocols on HumanEval and MBPP, as they are today."""
    for protocol, extra in (("single", 0), ("execution_oracle", 10), ("execution", 5)):
        known = {"model": "runs/mine", "protocol": protocol}
        write_run(tmp_path / f"he-{protocol}", rows(164, 82 + extra, 41), **HUMANEVAL, **known)
        write_run(tmp_path / f"mbpp-{protocol}", rows(378, 189 + extra, 100), **MBPP, **known)
    return tmp_path


def test_ours_stand_above_published_rows_in_the_papers_layout(paper):
    lines = made(paper)["results"]
    names = [line["model"] for line in lines]
    assert names[:3] == [
        "runs/mine",
        "+ Execution Feedback",
        "+ Execution Feedback (public tests)",
    ]
    assert lines[0]["HumanEval"] == "50.0 (25.0)"
    place = names.index("OCI-DS")
    assert names[place + 1 : place + 4] == [
        "+ Execution Feedback",
        "+ Synth. Human Feedback",
        "+ Synth. Human Feedback (Oracle)",
    ]
    assert lines[place + 1]["HumanEval"] == "81.1 (78.7)"
    assert lines[place + 1]["source"] == "OpenCodeInterpreter, main results"


def test_mbpp_of_the_paper_and_of_today_have_columns_of_their_own(paper):
    lines = made(paper)["results"]
    ours, theirs = "MBPP v0.2.0, 378 tasks", "MBPP v0.1.0, 399 tasks"
    assert (lines[0][ours], lines[0][theirs]) == ("50.0 (26.5)", "-")
    [published] = [line for line in lines if line["HumanEval"] == "81.1 (78.7)"]
    assert (published[ours], published[theirs]) == ("-", "82.7 (72.4)")
    assert lines[0]["Average, MBPP v0.2.0"] == "50.0 (25.7)"
    assert published["Average, MBPP v0.1.0"] == "81.9 (75.6)"
    [results] = [table for table in tables(find_runs([paper])) if table.name == "results"]
    assert any("Do not compare MBPP across columns" in note for note in results.notes)


def test_mbpp_as_the_paper_has_it_stands_in_the_papers_column(tmp_path):
    write_run(tmp_path / "he", rows(164, 82, 41), **HUMANEVAL)
    write_run(tmp_path / "new", rows(378, 189, 100), **MBPP)
    write_run(tmp_path / "old", rows(399, 399, 0), **MBPP_OF_THE_PAPER)
    ours, *lines = made(tmp_path)["results"]
    [published] = [line for line in lines if line["HumanEval"] == "81.1 (78.7)"]
    column, average = "MBPP v0.1.0, 399 tasks", "Average, MBPP v0.1.0"
    assert (ours[column], published[column]) == ("100.0 (0.0)", "82.7 (72.4)")
    assert (ours[average], published[average]) == ("75.0 (12.5)", "81.9 (75.6)")
    assert ours["Average, MBPP v0.2.0"] == "50.0 (25.7)"


def test_feedback_of_public_tests_is_said_to_show_what_the_prompt_shows(paper):
    [results] = [table for table in tables(find_runs([paper])) if table.name == "results"]
    assert any(
        "Execution feedback of public tests shows only tests that stand in the prompt." in note
        for note in results.notes
    )


@pytest.mark.parametrize(
    "differ",
    [
        {"prompts": {"name": "paper", "sha256": "p"}},
        {"sanitizer": "paper"},
        {"evaluator": "evalplus-0.3.1"},
        {"oracle_tests": "base"},
    ],
)
def test_benchmarks_of_other_settings_are_not_one_line(tmp_path, differ):
    write_run(tmp_path / "he", rows(164, 82, 41), **HUMANEVAL)
    write_run(tmp_path / "mbpp", rows(378, 189, 100), **MBPP, **differ)
    ours, theirs, *_ = made(tmp_path)["results"]
    assert (ours["HumanEval"], ours["MBPP v0.2.0, 378 tasks"]) == ("50.0 (25.0)", "-")
    assert (theirs["HumanEval"], theirs["MBPP v0.2.0, 378 tasks"]) == ("-", "50.0 (26.5)")
    assert "Average, MBPP v0.2.0" not in ours


def write_both(tmp_path, other=()):
    """Execution feedback as the paper has it: of base tests in one run, of plus in another."""
    for tests, solved, solved_plus in (("base", 123, 41), ("plus", 82, 82)):
        known = {"protocol": "execution_oracle", "oracle_tests": tests}
        known |= dict(other) if tests == "plus" else {}
        write_run(tmp_path / tests, rows(164, solved, solved_plus), **HUMANEVAL, **known)


def test_a_base_and_a_plus_run_add_up_to_a_row_as_the_papers(tmp_path):
    write_both(tmp_path)
    found = {line["model"]: line["HumanEval"] for line in made(tmp_path)["results"][:3]}
    name = "runs/first + Execution Feedback"
    added = "+ Execution Feedback"
    assert found == {
        f"{name} [2 rounds, oracle tests base]": "75.0 (25.0)",
        f"{added} [2 rounds]": "50.0 (50.0)",
        f"{added} [2 rounds; base from a run of its own, plus from another, as the paper]": (
            "75.0 (50.0)"
        ),
    }
    [results] = [table for table in tables(find_runs([tmp_path])) if table.name == "results"]
    assert not any("unfinished" in note for note in results.notes)


@pytest.mark.parametrize("other", [{"rounds": 3}, {"sanitizer": "paper"}, {"samples": 2}])
def test_a_base_and_a_plus_run_that_differ_otherwise_do_not_add_up(tmp_path, other):
    write_both(tmp_path, other)
    assert not any("as the paper" in line["model"] for line in made(tmp_path)["results"])


def test_a_part_of_a_benchmark_is_marked_and_has_no_average(tmp_path):
    write_run(tmp_path / "he", rows(10, 5, 5), **HUMANEVAL)
    write_run(tmp_path / "mbpp", rows(378, 5, 5), **MBPP)
    lines = made(tmp_path)["results"]
    assert lines[0]["model"].endswith("[HumanEval: 10 of 164 tasks]")
    assert lines[0]["HumanEval"] == "50.0 (50.0)"
    assert "Average, MBPP v0.2.0" not in lines[0]


def test_an_unfinished_run_is_marked_everywhere_it_is_told(tmp_path):
    write_run(tmp_path / "run", rows(87, 5, 5), **HUMANEVAL | {"tasks": 164}, finished=False)
    found = made(tmp_path)
    assert found["results"][0]["model"].endswith("[HumanEval: 87 of 164 tasks]")
    assert found["runs"][0]["state"] == "unfinished: 87 of 164 tasks"
    assert found["costs"][0]["run"] == "run (unfinished)"


def test_a_run_without_a_result_is_told(tmp_path):
    write_run(tmp_path / "a", [], tasks=164, finished=False)
    write_run(tmp_path / "b", [judged("t/1", True)])
    found = made(tmp_path)
    assert found["runs"][0]["state"] == "unfinished: 0 of 164 tasks"
    assert [line["tasks"] for line in found["runs"]] == ["0", "1"]


def test_other_benchmarks_have_no_published_rows(four):
    lines = made(four)["results"]
    assert [line["adding"] for line in lines] == ["75.0 (50.0)"]


def test_the_same_under_other_settings_is_a_line_of_its_own(tmp_path):
    for heat in (0.6, 0.8):
        sampling = {"temperature": heat, "seed": 3}
        write_run(tmp_path / f"run-{heat}", [row("t/1", "pass", True)], sampling=sampling)
    names = [line["model"] for line in made(tmp_path)["results"]]
    assert names[0].endswith("[2 rounds, temperature 0.6, seed 3]")
    assert names[1].endswith("[2 rounds, temperature 0.8, seed 3]")


def test_lines_that_options_do_not_tell_apart_are_told_by_their_runs(tmp_path):
    for longest in (64, 1024):
        sampling = {"max_new_tokens": longest}
        write_run(tmp_path / f"up-to-{longest}", [row("t/1", "pass", True)], sampling=sampling)
    names = [line["model"] for line in made(tmp_path)["results"]]
    assert names[0].endswith("[up-to-1024]")
    assert names[1].endswith("[up-to-64]")


def test_samples_of_some_tasks_are_marked(tmp_path):
    known = HUMANEVAL | {"tasks": 164, "programs": "hash"}
    write_run(tmp_path / "run", rows(20, 10, 10), **known)
    assert made(tmp_path)["results"][0]["model"].endswith("[HumanEval: 20 of 164 tasks]")


def test_files_of_one_name_and_other_tests_have_columns_of_their_own(tmp_path):
    for digest in ("a" * 32, "b" * 32):
        write_run(tmp_path / digest[0], [judged("t/1", digest[0] == "a")], version=digest)
    [line] = made(tmp_path)["results"]
    assert line["adding of tests aaaaaaaa"] == "100.0"
    assert line["adding of tests bbbbbbbb"] == "0.0"


def test_pass_at_k_is_there_where_samples_are(tmp_path):
    write_run(tmp_path / "few", [judged("t/1", True)])
    many = [judged("t/1", number == 0, sample=number) for number in range(4)]
    write_run(tmp_path / "many", many, samples=4)
    few, four = made(tmp_path, [1, 2, 10])["runs"]
    assert (few["pass@1"], few["pass@2"]) == ("100.0%", "-")
    assert (four["pass@1"], four["pass@2"]) == ("25.0%", "50.0%")
    assert "pass@10" not in four


def test_seconds_that_are_unknown_are_a_dash(tmp_path):
    write_run(tmp_path / "old", [row("t/1", "pass", True)])
    write_run(tmp_path / "new", [row("t/1", "pass", True)], answers=[{"began": 0, "ended": 2.5}])
    new, old = made(tmp_path)["costs"]
    assert (new["seconds"], new["seconds per solved task"]) == ("2.5", "2.50")
    assert (old["seconds"], old["seconds per solved task"]) == ("-", "-")


def test_repairs_tell_of_each_kind(four):
    found = {line["error"]: line for line in made(four)["repairs"]}
    assert found["time-out"]["then passed shown tests"] == "1"
    assert found["syntax"]["of those answered again"] == "0.0%"


def test_what_ended_tasks_is_not_called_public_where_tests_that_score_did(tmp_path):
    known = {"protocol": "execution_oracle", "oracle_tests": "plus"}
    write_run(tmp_path / "run", [row("t/1", "wrong pass", True)], **known)
    found = {table.name: table for table in tables(find_runs([tmp_path]))}
    for name in ("rounds", "errors", "repairs"):
        assert any("Shown tests are those that end a task" in note for note in found[name].notes)
        assert not any("public" in column.name for column in found[name].columns)
