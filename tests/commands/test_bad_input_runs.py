"""A run that is none, not finished, damaged, or whose data has changed: one line, exit code 2, nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from spoiled import STAGES, edit, on


@pytest.mark.parametrize("stage", STAGES)
def test_not_a_run_or_not_finished(refused, run, tmp_path, stage):
    refused(on(stage, run="."), ".: not a run (no run.json in it)", "skn train --out DIR")
    refused(on(stage, run="nowhere"), "nowhere: not a run")
    edit(run / "run.json", lambda stored: stored.update(training=None))
    refused(on(stage), "run: training has not finished", "skn train --resume --out run")


@pytest.mark.parametrize(
    "change", ["", "{", "[]", "{}", '{"config": {}, "training": {}}', '{"config": null, "training": null}']
)
@pytest.mark.parametrize("arguments", [on("evaluate"), ["train", "--resume", "--out", "run"]], ids=["stage", "resume"])
def test_damaged_run_json(refused, run, arguments, change):
    (run / "run.json").write_text(change)
    refused(arguments, "run/run.json: damaged", "train the run again")


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", "3"),
        ("label_words", "good"),
        ("label_words", [1, 2]),
        ("lr", None),
        ("seed", 0.5),
        ("data", {"task": 1}),
    ],
)
def test_run_json_with_a_value_of_the_wrong_type(refused, run, field, value):
    edit(run / "run.json", lambda stored: stored["config"].update({field: value}))
    refused(on("evaluate"), "run/run.json: damaged or of another version of skn", "train the run again")


def test_the_fast_engine_where_it_cannot_run(refused, run):
    arguments = on("probe", "--at", "mean", "--engine", "fast", "--overwrite")
    refused(arguments, "--engine fast: it returns activations of the prompt positions alone", "use --engine hf")


def test_bf16x3_where_it_cannot_be_computed(refused, run):
    arguments = on("probe", "--dtype", "bf16x3", "--overwrite")
    refused([*arguments, "--engine", "hf"], "--dtype bf16x3: the engine hf has no such products", "use --dtype float32")
    refused(
        [*arguments, "--at", "mean"],
        "--dtype bf16x3: it returns activations of the prompt positions alone",
        "use --dtype float32",
    )


@pytest.fixture
def moved_data(run, corpus_folder, tmp_path) -> Path:
    """The run, now reading a copy of its data that a test may change."""
    data = Path(shutil.copytree(corpus_folder, tmp_path / "moved" / corpus_folder.name))
    edit(run / "run.json", lambda stored: stored["config"]["data"].update(data=str(data)))
    return data


@pytest.mark.parametrize("stage", ["probe", "evaluate"])
def test_data_that_has_changed(refused, moved_data, stage):
    with open(moved_data / "test.tsv", "a") as file:
        file.write("one more text\t1\n")
    refused(on(stage), f"{moved_data}: the data has changed since", "train a new run on it")


def test_data_that_is_gone(refused, moved_data):
    shutil.rmtree(moved_data)
    refused(on("evaluate"), f"{moved_data}: the data of run is not there; --data says where it stands now")
