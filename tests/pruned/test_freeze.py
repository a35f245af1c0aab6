"""Where the removed neurons are frozen: at their mean or at zero."""

from __future__ import annotations

import json

import pytest
import torch
from refusals import command
from spoiled import on

import skn
from skn.errors import InputError
from skn.inference.engine import predict
from skn.neurons.masking import Mask
from skn.pruned.prune import PruneDocument, read_prune
from skn.store import documents


@pytest.mark.parametrize("freeze", ["mean", "zero"])
def test_a_run_s_pruned_model_equals_the_mask(run, freeze):
    loaded = skn.open_run(run)
    small = skn.prune(loaded, count=5, freeze=freeze)
    removed, encoded = ~small.backbone.present, loaded.encoded("test")
    mean = skn.probe(loaded).moments["prompt"].threshold().mean(dim=1)
    masked = {kind: predict(loaded.model, encoded, 600, mask=Mask(kind, removed, mean)) for kind in ("mean", "zero")}
    torch.testing.assert_close(predict(small, encoded, 600), masked[freeze], rtol=1e-5, atol=1e-5)
    assert (masked["mean"] - masked["zero"]).abs().max() > 1e-3


def test_the_command_stores_and_tells_it(run, quiet_exit):
    assert command([*on("prune", run=run), "--freeze", "zero"]) == 0
    assert read_prune(run / "prune.json")["freeze"] == "zero"
    assert "the others are frozen at zero. Parameters" in (run / "pruned" / "README.md").read_text()
    assert command([*on("prune", run=run), "--overwrite"]) == 0
    assert read_prune(run / "prune.json")["freeze"] == "mean"
    assert "frozen at their mean over the training split" in (run / "pruned" / "README.md").read_text()


def test_zero_needs_no_probe(run, quiet_exit):
    loaded = skn.open_run(run)
    ranking = skn.rank(skn.probe(loaded))
    (run / "moments.safetensors").unlink()
    assert command([*on("prune", run=run), "--freeze", "zero"]) == 0
    assert skn.prune(loaded, ranking, count=5, freeze="zero").config.ffn_widths == [5, 5, 5]


def test_thresholds_beside_zero_are_refused(run, refused):
    file = run / "moments.safetensors"
    refused(
        [*on("prune", run=run), "--freeze", "zero", "--thresholds", file],
        "--thresholds: hold the means for --freeze mean; leave them out with --freeze zero",
    )
    refused([*on("prune", run=run), "--freeze", "median"], "--freeze")
    with pytest.raises(InputError, match='freeze="median": expected mean, zero'):
        skn.prune(skn.open_run(run), count=5, freeze="median")


def test_a_prune_json_of_an_older_version_was_frozen_at_the_mean(run, quiet_exit):
    assert command(on("prune", run=run)) == 0
    summary = documents.read(run / "prune.json", "prune", PruneDocument, "")
    del summary["freeze"]
    documents.write(run / "prune.json", "prune", summary)
    assert "freeze" not in json.loads((run / "prune.json").read_text())
    assert read_prune(run / "prune.json")["freeze"] == "mean"
