"""Run folders are found and read, and what is wrong with one is said in a line."""

import json

import pytest

from ocijax.errors import InputError
from ocijax.report.runs import find_runs, short_names
from tests.report.conftest import judged, row, write_run

SETTINGS = ("benchmark", "version", "protocol", "model")
ROWS = [row("t/1", "pass", True), row("t/2", "wrong wrong", False)]


def damaged(places) -> str:
    with pytest.raises(InputError) as caught:
        find_runs(places)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_run_beneath_is_found_once(tmp_path):
    write_run(tmp_path / "b" / "deep" / "one", ROWS)
    write_run(tmp_path / "b" / "two", ROWS)
    write_run(tmp_path / "a", ROWS)
    (tmp_path / "b" / "notes").mkdir()
    runs = find_runs([tmp_path / "b", tmp_path / "a", tmp_path / "b" / "two"])
    assert [run.name for run in runs] == ["b/deep/one", "b/two", "a"]


def test_rows_are_in_the_order_of_the_numbers_in_task_ids(four):
    [run] = find_runs([four])
    assert [one["task_id"] for one in run.rows] == ["t/1", "t/2", "t/9", "t/10"]


def test_settings_may_say_more_than_is_known(tmp_path):
    write_run(tmp_path / "run", ROWS, sweep={"name": "sizes"}, cell=3)
    [run] = find_runs([tmp_path])
    assert run.settings["cell"] == 3
    assert run.finished


def test_a_run_without_all_results_is_unfinished(tmp_path):
    write_run(tmp_path / "run", ROWS, tasks=164, finished=False)
    [run] = find_runs([tmp_path])
    assert (run.finished, run.progress) == (False, "2 of 164 tasks")


def test_a_samples_file_may_leave_tasks_out(tmp_path):
    write_run(tmp_path / "done", [judged("t/1", True)], tasks=164, programs="hash")
    write_run(
        tmp_path / "under_way", [judged("t/1", True)], tasks=164, programs="x", finished=False
    )
    assert [run.finished for run in find_runs([tmp_path])] == [True, False]


def write_part(folder, part, *names, **settings):
    """What a host had of a run: of its tasks every so many."""
    host = part.split()[0]
    rows = [row(name, "pass", True) for name in names]
    return write_run(folder / f"host-{host}", rows, part=part, task_ids=f"of {host}", **settings)


def test_parts_of_hosts_are_one_run(tmp_path):
    write_part(tmp_path, "0 of 2", "t/1", "t/3")
    write_part(tmp_path, "1 of 2", "t/2")
    [run] = find_runs([tmp_path])
    assert (run.finished, run.progress) == (True, "3 of 3 tasks")
    assert [one["task_id"] for one in run.rows] == ["t/1", "t/2", "t/3"]


@pytest.mark.parametrize(
    ("part", "names", "progress"),
    [("0 of 2", ("t/1", "t/3"), "2 of 3 tasks"), ("1 of 2", ("t/2", "t/4"), "2 of 4 tasks")],
)
def test_a_part_without_the_others_is_unfinished(tmp_path, part, names, progress):
    write_part(tmp_path, part, *names)
    [run] = find_runs([tmp_path])
    assert (run.finished, run.progress) == (False, progress)


def test_parts_of_other_numbers_of_hosts_are_other_runs(tmp_path):
    write_part(tmp_path / "two", "0 of 2", "t/1", "t/3")
    write_part(tmp_path / "two", "1 of 2", "t/2", "t/4")
    write_part(tmp_path / "four", "0 of 4", "t/1")
    found = {len(run.rows): run.finished for run in find_runs([tmp_path])}
    assert found == {4: True, 1: False}


def test_parts_of_selections_of_other_sizes_are_no_whole(tmp_path):
    write_part(tmp_path, "0 of 2", "t/1", "t/3", "t/5", "t/7")
    write_part(tmp_path, "1 of 2", "t/2")
    [run] = find_runs([tmp_path])
    assert (run.finished, run.progress) == (False, "5 of 7 tasks")


def test_a_part_that_is_there_twice_is_named_by_both_folders(tmp_path):
    one = write_part(tmp_path / "a", "0 of 2", "t/1")
    other = write_part(tmp_path / "b", "0 of 2", "t/1")
    assert damaged([tmp_path]) == (
        f"--runs: {one} and {other} are both part 0 of 2 of one run; leave one of them out"
    )


def test_parts_that_share_a_task_are_named_by_both_folders(tmp_path):
    one = write_part(tmp_path, "0 of 2", "t/1")
    other = write_part(tmp_path, "1 of 2", "t/1")
    assert damaged([tmp_path]) == (
        f"--runs: {one} and {other} are parts of one run and both have a result of t/1#0; "
        "leave one of them out"
    )


def test_a_checkpoint_of_known_content_is_one_model_wherever_it_lay(tmp_path):
    for number, place in enumerate(("/here/300", "/there/300")):
        known = {"model": place, "model_sha256": "c"}
        write_part(tmp_path / "known", f"{number} of 2", f"t/{number}", **known)
        write_part(tmp_path / "unknown", f"{number} of 2", f"t/{number}", model=place)
    known, *unknown = find_runs([tmp_path / "known", tmp_path / "unknown"])
    assert (known.finished, len(known.rows)) == (True, 2)
    assert [run.finished for run in unknown] == [False, False]


def test_options_are_those_that_are_not_the_default(tmp_path):
    write_run(
        tmp_path / "ours",
        ROWS,
        prompts={"name": "turns", "sha256": "a"},
        sanitizer="fenced",
        evaluator="ocijax",
    )
    write_run(
        tmp_path / "theirs",
        ROWS,
        prompts={"name": "paper", "sha256": "b"},
        sanitizer="evalplus",
        evaluator="evalplus-0.3.1",
        oracle_tests="base",
    )
    ours, theirs = find_runs([tmp_path])
    assert ours.options == "2 rounds"
    assert theirs.options == (
        "2 rounds, prompts paper, sanitizer evalplus, evaluator evalplus-0.3.1, oracle tests base"
    )


def test_a_last_line_written_by_half_is_passed_over(tmp_path):
    folder = write_run(tmp_path / "run", ROWS, tasks=3, finished=False)
    with open(folder / "results.jsonl", "a") as file:
        file.write(json.dumps(row("t/3", "pass", True))[:40])
    [run] = find_runs([tmp_path])
    assert len(run.rows) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: "{", "Expecting"),
        (lambda one: "[]", "not an object"),
        (lambda one: json.dumps(one | {"passed_base": 1}), "passed_base: 1 is of the wrong type"),
        (lambda one: json.dumps(one | {"rounds": True}), "rounds: True is of the wrong type"),
        (lambda one: json.dumps(one | {"attempts": [{}]}), "reply is missing"),
        (lambda one: json.dumps(one | {"attempts": {}}), "attempts: not a list"),
        (
            lambda one: json.dumps(one | {"attempts": [one["attempts"][0] | {"afresh": "no"}]}),
            "afresh: 'no' is of the wrong type",
        ),
        (lambda one: json.dumps(one | {"conversation": {}}), "messages is missing"),
        (lambda one: json.dumps(one | {"task_id": "t/1"}), "a second result of t/1#0"),
        (lambda one: "[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, change, said):
    path = write_run(tmp_path / "run", ROWS) / "results.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + change(ROWS[1]) + "\n")
    message = damaged([tmp_path])
    assert message.startswith(f"{path}:2: damaged: ")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ('{"benchmark": "x"}', "version is missing"),
        ('{"benchmark": 3}', "benchmark: 3 is of the wrong type"),
        (
            json.dumps(dict.fromkeys(SETTINGS, "x") | {"tasks": 1, "part": "a"}),
            "part: 'a' is no part of a run, like 0 of 2",
        ),
    ],
)
def test_damaged_settings_are_named(tmp_path, text, said):
    path = write_run(tmp_path / "run", ROWS) / "settings.json"
    path.write_text(text)
    message = damaged([tmp_path])
    assert message.startswith(f"{path}: damaged: ")
    assert said in message


def test_folders_without_runs_are_refused(tmp_path):
    assert damaged([tmp_path / "none"]) == f"--runs={tmp_path / 'none'}: no such folder"
    assert damaged([tmp_path]).startswith(f"--runs={tmp_path}: no run is beneath it; ")


def test_seconds_are_those_in_which_something_was_generated(tmp_path):
    # Two at once, a pause in which the run was dead, one inside another.
    times = [(100.0, 104.0), (102.0, 105.0), (900.0, 902.0), (900.5, 901.0)]
    answers = [{"call": "x", "began": began, "ended": ended} for began, ended in times]
    write_run(tmp_path / "run", ROWS, answers=answers)
    [run] = find_runs([tmp_path])
    assert run.seconds == pytest.approx(7.0)


@pytest.mark.parametrize("answers", [[], [{"began": 1.0, "ended": 2.0}, {"call": "old"}]])
def test_seconds_of_older_runs_are_unknown(tmp_path, answers):
    write_run(tmp_path / "run", ROWS, answers=answers)
    assert find_runs([tmp_path])[0].seconds is None


def test_seconds_of_unfinished_runs_are_unknown(tmp_path):
    write_run(tmp_path / "run", ROWS, tasks=9, answers=[{"began": 1.0, "ended": 2.0}])
    assert find_runs([tmp_path])[0].seconds is None


def test_damaged_times_are_named(tmp_path):
    path = write_run(tmp_path / "run", ROWS, answers=[{"began": "now", "ended": 2.0}])
    assert damaged([tmp_path]).startswith(f"{path / 'answers.jsonl'}:1: damaged: began: 'now'")


def test_names_are_short_and_addresses_whole():
    assert short_names(["a/b/x/1", "a/b/y", "m at http://h/v1"]) == {
        "a/b/x/1": "x/1",
        "a/b/y": "y",
        "m at http://h/v1": "m at http://h/v1",
    }
    assert short_names(["/w/runs/first/checkpoints/300"], 3) == {
        "/w/runs/first/checkpoints/300": "first/checkpoints/300"
    }
