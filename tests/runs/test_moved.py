"""A backbone or a data folder that was moved: named where it has gone, taken where it stands now, refused where it is another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from refusals import command
from spoiled import edit

import skn
from skn.errors import InputError
from skn.runs.run import Run
from skn.runs.sweep import Sweep


@pytest.fixture
def moved(tiny, corpus_folder, tmp_path, monkeypatch, quiet_exit) -> Path:
    """A probed run whose backbone and data stand under ``now/`` since."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny("roberta"), "then/model")
    shutil.copytree(corpus_folder, "then/data")
    train = ["train", "--backbone", "then/model", "--data", "then/data", "--epochs", 0, "--prompt-length", 4]
    assert command([*train, "--out", "run"]) == 0
    assert command(["probe", "--run", "run"]) == command(["select", "--run", "run"]) == 0
    shutil.move("then", "now")
    return tmp_path / "run"


NOW = ["--backbone", "now/model", "--data", "now/data"]
STAGES = {
    "probe": ["--overwrite"],
    "mask": ["--fraction", "0.1", "--controls", 2],
    "prune": ["--fraction", "0.5"],
    "export": ["--out", "model"],
    "evaluate": [],
    "activate": ["--neuron", "best"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_that_loads_them(moved, refused, stage):
    asked = [stage, "--run", "run", *STAGES[stage]]
    refused(asked, "then/data: the data of run is not there; --data says where it stands now")
    refused([*asked, *NOW[2:]], "then/model: the backbone of run is not there; --backbone says where it stands now")
    assert command([*asked, *NOW]) == 0


def test_what_is_another_is_refused(moved, refused, tiny, tmp_path):
    shutil.copytree(tiny("xlm-roberta"), "other")
    said = "other: another backbone than that of run/tuned.safetensors", "--backbone says where the run's own stands"
    refused(["evaluate", "--run", "run", "--backbone", "other", *NOW[2:]], *said)
    with open("now/data/test.tsv", "a") as file:
        file.write("one more text\t1\n")
    refused(["evaluate", "--run", "run", *NOW], "the data has changed since")


def test_the_python_face(moved):
    with pytest.raises(InputError, match="the data of run is not there"):
        skn.open_run("run")
    found = skn.open_run("run", backbone="now/model", data=Path("now/data"))
    assert found.data.classes == ["0", "1"]


def test_an_unfinished_training_goes_on_at_the_new_place(moved, refused, tiny):
    edit(moved / "run.json", lambda stored: stored.update(training=None))
    resume = ["train", "--resume", "--out", "run"]
    refused(resume, "then/data: the data of run is not there")
    shutil.copytree(tiny("xlm-roberta"), "other")
    refused([*resume, "--backbone", "other"], "--resume: run was started with --backbone", "not other")
    assert command([*resume, *NOW]) == 0
    assert Run.open("run").config.backbone == str(Path("now/model").resolve())
    assert command(["evaluate", "--run", "run"]) == 0


def test_a_sweep_goes_on_at_the_new_place(tiny, corpus_folder, tmp_path, monkeypatch, quiet_exit):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny("roberta"), "then/model")
    shutil.copytree(corpus_folder, "then/data")
    asked = ["--backbone", "then/model", "--data", "then/data", "--tasks", "sst2", "--text-column", "text"]
    assert command(["sweep", *asked, "--seeds", "1,2", "--epochs", 0, "--prompt-length", 4, "--out", "s"]) == 0
    before = (tmp_path / "s/sst2/seed-1/tuned.safetensors").read_bytes()
    shutil.rmtree("s/sst2/seed-2")
    shutil.move("then", "now")
    assert command(["sweep", "--resume", "--out", "s"]) == 2
    assert command(["sweep", "--resume", "--out", "s", *NOW]) == 0
    sweep = Sweep.open("s")
    assert sweep.settings["backbone"] == str(Path("now/model").resolve())
    assert {run.config.seed for run in sweep.finished_runs().values()} == {1, 2}
    assert (tmp_path / "s/sst2/seed-1/tuned.safetensors").read_bytes() == before
    assert command(["activate", "--sweep", "s", "--backbone", "now/model"]) == 0
