"""Runs over a backbone that a device map spreads: the same numbers, and what the commands refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from refusals import command

import skn
from skn.errors import InputError
from skn.inference.compute import Compute
from skn.runs.run import Run

DISK = {"": "disk"}


@pytest.fixture
def tuned(tiny, corpus_folder, tmp_path):
    """``tuned(name, **options)``: an untrained run over a tiny Llama."""
    data = skn.load_data(corpus_folder, text="text", label="label")

    def tune(name: str, family: str = "llama", **options):
        options = {"prompt_length": 4, "epochs": 0} | options
        return skn.tune(tiny(family), data, ["negative", "positive"], out=tmp_path / name, **options)

    return tune


def test_the_whole_way_over_the_disk(tuned, tmp_path):
    whole, spread = tuned("whole"), tuned("spread", device_map=DISK)
    assert spread.model.backbone.spread and spread.engine == "hf" and spread.provenance["device"] == "cpu"
    assert spread.provenance["backbone_digest"] == whole.provenance["backbone_digest"]
    assert json.loads((tmp_path / "spread" / "run.json").read_text())["config"]["device_map"] == DISK
    found = [skn.probe(run, ["prompt", "mean", "max"]) for run in (whole, spread)]
    for place, hits in found[0].hits.items():
        assert torch.equal(found[1].hits[place].count, hits.count)
        assert ((found[1].hits[place].hits - hits.hits).abs().sum(dim=0) <= hits.near).all()
    for kind in ("gaussian", "zero"):  # noise is drawn on the device of the layer
        masked = [skn.mask(run, skn.rank(found[0]), 0.2, kind=kind, controls=1).rows for run in (whole, spread)]
        assert masked[1][0]["accuracy"] == pytest.approx(masked[0][0]["accuracy"], abs=0.03)


def test_a_stage_spreads_as_trained_or_as_it_is_told(tuned, tmp_path):
    tuned("spread", device_map=DISK)
    run = Run.open(tmp_path / "spread")
    assert run.load().model.backbone.spread
    assert not run.load(Compute(device="cpu")).model.backbone.spread
    tuned("whole")
    assert not Run.open(tmp_path / "whole").load().model.backbone.spread
    assert skn.open_run(tmp_path / "whole", device_map=DISK).model.backbone.spread


def test_a_template_needs_no_gradients_and_runs_on_a_spread_backbone(tuned):
    """Without --epochs 0, because nothing is tuned."""
    template = {"method": "template", "template": "{text}\nIt was", "prompt_length": None}
    whole, spread = (
        tuned(name, epochs=6, device_map=place, **template) for name, place in (("whole", None), ("spread", DISK))
    )
    assert spread.model.backbone.spread and spread.validation_accuracy == whole.validation_accuracy
    found = [skn.probe(run).hits_of("test") for run in (whole, spread)]
    assert ((found[0].hits - found[1].hits).abs().sum(dim=0) <= found[0].near).all()


def test_what_needs_one_device_is_refused(tuned):
    with pytest.raises(InputError, match="^device_map.*gradients need the whole model.*epochs=0"):
        tuned("run", device_map=DISK, epochs=1)
    with pytest.raises(InputError, match="biases and adapters need the whole model on one device"):
        tuned("run", "roberta", device_map=DISK, method="bitfit", prompt_length=1)
    assert tuned("run", device_map={"": "cpu"}, epochs=1).validation_accuracy is not None


def test_the_commands(tiny, corpus_folder, tmp_path, refused):
    train = ["train", "--backbone", tiny("llama"), "--data", corpus_folder, "--prompt-length", 4, "--epochs", 0]
    refused([*train, "--out", "run", "--device-map", "disk"], "--device-map disk: use auto")
    assert command([*train, "--out", "run", "--device-map", "auto"]) == 0
    assert json.loads(Path("run/run.json").read_text())["config"]["device_map"] == "auto"
    assert command(["train", "--resume", "--out", "run", "--device-map", "auto"]) == 0
    assert command(["probe", "--run", "run", "--device-map", "auto", "--device", "cpu"]) == 0
    refused(
        ["probe", "--run", "run", "--device-map", "auto", "--dtype", "int8", "--overwrite"],
        "--dtype int8: needs the whole model",
    )
