"""The quickstart's parts, with a model far too small to learn anything."""

import json

import pytest

from configs.quickstart import get_config
from launch.quickstart import ROUNDS, TEMPERATURES, Quickstart
from ocijax.configuration import from_mapping
from ocijax.judge.task import read_tasks
from ocijax.sandbox.sandbox import Sandbox
from ocijax.tasks.dataset import Sizes
from ocijax.train.config import Recipe

SIZES = Sizes(test=1, validation=1, train=4, first_answers=1)
SEED = 3


def tiny_config():
    config = get_config().to_dict()
    config["model"].update(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    config["model"].update(num_key_value_heads=1, head_dim=8)
    config["train"].update(steps=3, evaluate_every=0)
    return config


def run(workdir):
    quickstart = Quickstart(workdir, SEED, Sandbox(), tiny_config(), SIZES)
    quickstart.make_data()
    assert quickstart.train()
    return quickstart.report(quickstart.measure())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "quickstart"


@pytest.fixture(scope="module")
def said(workdir):
    return run(workdir)


def test_recipe_is_complete():
    assert from_mapping(Recipe, get_config()).model.vocab_size == 640


def test_summary_has_a_row_for_each_protocol_on_all_test_tasks(workdir, said):
    rows = json.loads((workdir / "summary.json").read_text())
    tasks = len(read_tasks(workdir / "seed-3" / "data" / "tasks" / "test.jsonl"))
    assert [row["protocol"] for row in rows] == ["single", "execution", "resample", "scrambled"]
    assert {row["tasks"] for row in rows} == {tasks}
    assert [row["attempts"] for row in rows] == [tasks, *[ROUNDS * tasks] * 3]


def test_report_names_the_table_the_ceiling_and_the_gains(said):
    for words in ("95 % interval", "scrambled", "1/k", "points over resample"):
        assert words in said


def test_figure_and_trajectories_are_written(workdir, said):
    assert (workdir / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "trajectories.md").read_text().startswith("# Repaired programs")


def test_temperature_of_resampling_is_chosen_on_validation_tasks_only(workdir, said):
    evaluation = workdir / "seed-3" / "evaluation"
    rates = {}
    for temperature in TEMPERATURES:
        [row] = json.loads(
            (evaluation / "validation" / f"resample-{temperature}" / "summary.json").read_text()
        )
        rates[temperature] = row["pass_rate"]
    settings = json.loads((evaluation / "test" / "resample" / "settings.json").read_text())
    assert rates[settings["sampling"]["temperature"]] == max(rates.values())
    for protocol in ("single", "execution", "scrambled"):
        settings = json.loads((evaluation / "test" / protocol / "settings.json").read_text())
        assert settings["sampling"]["temperature"] == 0


def test_run_again_it_trains_and_asks_nothing_and_says_the_same(workdir, said):
    records = [
        path
        for name in ("metrics.jsonl", "answers.jsonl", "results.jsonl")
        for path in workdir.rglob(name)
    ]
    before = [path.read_text() for path in records]
    assert run(workdir) == said
    assert [path.read_text() for path in records] == before
