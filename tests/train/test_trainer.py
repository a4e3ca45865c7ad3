import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ocijax.data.storage import digest, write_metadata, write_rows
from ocijax.errors import InputError
from ocijax.new_folder import new_folder
from ocijax.template import LLAMA2
from ocijax.train import meter, trainer
from ocijax.train.checkpoint import load_model
from ocijax.train.metrics import read_metrics
from ocijax.train.rows import load_rows
from ocijax.train.trainer import train
from ocijax.vocabulary import train_vocabulary
from tests.train.conftest import conversations


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """A workdir after an undisturbed run, what was observed, and how it ended."""
    workdir, seen = tmp_path_factory.mktemp("finished"), []
    return workdir, seen, train(recipe, workdir, observe=seen.append)


def losses(workdir):
    """Loss by step; each step is there once."""
    rows = [row for row in read_metrics(workdir / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]


def test_every_step_is_in_the_metrics(finished):
    workdir, _, _ = finished
    values = losses(workdir)
    assert len(values) == 12
    assert values[-1] < values[0] - 0.5
    row = read_metrics(workdir / "metrics.jsonl")[3]
    assert {"learning_rate", "gradient_norm", "targets", "tokens", "skipped"} < row.keys()


def test_evaluation_loss_comes_at_intervals_and_at_the_end(finished):
    workdir, _, ended = finished
    rows = [row for row in read_metrics(workdir / "metrics.jsonl") if "evaluation_loss" in row]
    assert [row["step"] for row in rows] == [6, 12]
    assert rows[1]["evaluation_loss"] == ended.evaluation_loss < rows[0]["evaluation_loss"]


def test_progress_is_observed_from_the_first_step_to_the_last(finished):
    _, seen, ended = finished
    assert (seen[0].step, seen[0].steps, seen[0].report) == (0, 12, None)
    assert seen[-1] == ended
    assert ended.step == 12
    assert ended.report.tokens_per_second > 0
    assert 0 < ended.report.data_wait < 1
    assert 0 < ended.report.goodput < 1
    assert ended.report.mfu is None, "nobody knows the peak of this processor"


def test_speed_counts_no_time_of_evaluation(recipe, change, tmp_path, monkeypatch):
    hours = [0]  # that evaluations took

    def evaluate(*_):
        hours[0] += 1
        return 1.0

    clock = SimpleNamespace(
        time=time.time, perf_counter=lambda: time.perf_counter() + 3600 * hours[0]
    )
    monkeypatch.setattr(trainer, "evaluation_loss", evaluate)
    monkeypatch.setattr(meter, "time", clock)
    train(change(recipe, steps=3, log_every=1, evaluate_every=1), tmp_path)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "tokens_per_second" in row]
    assert [row["step"] for row in rows] == [2, 3]
    assert all(row["tokens"] / row["tokens_per_second"] < 3600 for row in rows)


def test_rows_are_looked_at_before_a_step_is_compiled(recipe, change, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "with_fastest_remat", lambda *_: pytest.fail("compiles"))
    absent = replace(recipe.data, train=("absent.jsonl",))
    with pytest.raises(InputError, match=r"absent\.jsonl"):
        train(replace(change(recipe, remat="auto"), data=absent), tmp_path)


def test_training_starts_from_another_checkpoint(finished, recipe, change, tmp_path):
    recipe = change(recipe, initial_checkpoint=str(finished[0]))
    ended = train(recipe, tmp_path, stop=lambda step: True)
    assert ended.report.loss < losses(finished[0])[0] - 0.5


def test_training_begins_again_where_its_first_checkpoint_was_not_finished(
    finished, recipe, change, tmp_path
):
    (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp" / "model").mkdir(parents=True)
    recipe = change(recipe, initial_checkpoint=str(finished[0]))
    assert train(recipe, tmp_path, stop=lambda step: True).step == 1


def test_a_packed_folder_trains_like_the_conversations_it_was_packed_from(
    finished, recipe, tmp_path
):
    rows = load_rows(recipe)
    with new_folder(tmp_path / "packed") as folder:
        for split, part in (("train", rows.train), ("holdout", rows.evaluation)):
            write_rows(folder, split, part)
        settings = {"length": 128, "template": "llama-2", "policy": "all"}
        settings["tokenizer_sha256"] = digest(Path(recipe.data.tokenizer))
        splits = {name: {"most_segments": 16} for name in ("train", "holdout")}
        write_metadata(folder, settings | {"splits": splits})
    data = replace(recipe.data, train=(str(tmp_path / "packed"),), holdout=0.0)
    ended = train(replace(recipe, data=data), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(finished[0])
    assert ended.evaluation_loss == finished[2].evaluation_loss
    with pytest.raises(InputError, match=r"packed with length 128, but config\.data\.length is 64"):
        load_rows(replace(recipe, data=replace(data, length=64)))
    few = replace(recipe, data=data, compute=replace(recipe.compute, max_segments=4))
    with pytest.raises(InputError, match=r"rows of 16 segments; raise config\.compute\.max_seg"):
        load_rows(few)
    other = tmp_path / "tokenizer.model"
    other.write_bytes(train_vocabulary(conversations(8), LLAMA2, 340))
    with pytest.raises(InputError, match=r"packed with another tokenizer than .*tokenizer\.model"):
        load_rows(replace(recipe, data=replace(data, tokenizer=str(other))))


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(recipe):
    small = replace(recipe, model=replace(recipe.model, vocab_size=64))
    with pytest.raises(InputError, match="has 340 tokens, but the model's vocab_size is 64: take"):
        load_rows(small)


def test_config_json_is_the_recipe(finished):
    assert json.loads((finished[0] / "config.json").read_text())["train"]["steps"] == 12


def test_run_json_has_all_that_made_each_start(recipe, tmp_path):
    for _ in range(2):
        train(recipe, tmp_path, stop=lambda step: True)
    first, second = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert first["time"] < second["time"]
    assert first["recipe"] == json.loads((tmp_path / "config.json").read_text())
    assert first["packages"]["jax"] == jax.__version__
    [source] = recipe.data.train
    assert first["data_sha256"][source] == digest(Path(source))
    assert first["data_sha256"].keys() == {source, recipe.data.tokenizer}
    assert first["devices"]["mesh"]["data"] == jax.device_count()
    assert first["code"] is None or len(first["code"]["commit"]) == 40


@pytest.fixture(scope="module")
def poisoned(recipe):
    """The recipe's rows, of which one gives a gradient that is not a number."""
    rows = load_rows(recipe)
    first, *others = rows.train
    return rows._replace(train=[{**first, "loss_weights": first["loss_weights"] * np.nan}, *others])


def test_an_update_that_is_not_finite_is_skipped_and_the_run_goes_on(recipe, poisoned, tmp_path):
    train(recipe, tmp_path, rows=poisoned)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "loss" in row]
    spoilt = [row for row in rows if not np.isfinite(row["gradient_norm"])]
    assert 0 < len(spoilt) < 8
    assert rows[-1]["skipped"] == len(spoilt)
    assert {row["learning_rate"] for row in spoilt} == {0.0}
    fine = [row["loss"] for row in rows if row not in spoilt]
    assert fine[-1] < fine[0] - 0.3


def test_a_run_with_skipped_updates_goes_on_bit_for_bit(recipe, poisoned, tmp_path):
    train(recipe, tmp_path / "whole", rows=poisoned)
    for step in (4, 8, 12):
        train(recipe, tmp_path / "parts", rows=poisoned, stop=lambda done, step=step: done == step)
    one, other = (load_model(tmp_path / name).parameters for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_too_many_skipped_in_a_row_end_the_run(recipe, poisoned, change, tmp_path):
    spoilt = poisoned._replace(train=poisoned.train[:1] * 4)
    message = "^step 3: the last 3 updates were skipped, by a gradient norm of nan at the end; run"
    with pytest.raises(InputError, match=message):
        train(change(recipe, most_skipped=3), tmp_path, rows=spoilt)
