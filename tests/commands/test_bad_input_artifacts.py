"""Artifacts that are damaged, foreign or missing: one line, exit code 2, nothing changed."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
from spoiled import on, rewrite

from skn.store import artifacts

READERS = {
    "tuned": [("probe", "skn train"), ("select", "skn train"), ("evaluate", "skn train"), ("report", "skn train")],
    "splits": [("evaluate", "skn train")],
    "moments": [("mean", "damaged"), ("prune", "damaged")],
    "hits-validation": [("select", "skn probe")],
    "neurons": [("mask", "skn select"), ("prune", "skn select"), ("activate", "skn select"), ("report", "skn select")],
}
READS = [(name, stage, hint) for name, readers in READERS.items() for stage, hint in readers]


def set_nan(name: str, *index):
    def change(tensors):
        tensors[name][index] = torch.nan

    return change


@pytest.mark.parametrize("name, stage, hint", READS)
def test_truncated(refused, run, name, stage, hint):
    file = run / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(on(stage), f"{name}.safetensors: damaged or not a safetensors file", hint)


@pytest.mark.parametrize("name, stage, hint", READS)
def test_of_another_kind(refused, run, name, stage, hint):
    other = "splits" if name == "neurons" else "neurons"
    shutil.copy(run / f"{other}.safetensors", run / f"{name}.safetensors")
    refused(on(stage), f"{name}.safetensors: holds '{other}', expected", name.split("-")[0])


def test_not_written_by_skn(refused, run):
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save({"rank": torch.zeros(3, 48)}))
    refused(on("mask"), "neurons.safetensors: not written by skn", "skn import")
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, metadata={"skn": "[1]"}))
    refused(on("mask"), "neurons.safetensors: damaged", "skn select")


def test_of_a_later_version(refused, run):
    description, tensors = artifacts.read_safetensors(run / "neurons.safetensors")
    text = json.dumps({**description, "format_version": 99})
    (run / "neurons.safetensors").write_bytes(safetensors.torch.save(tensors, metadata={"skn": text}))
    refused(on("mask"), "format version 99, this skn reads 2", "skn select")


@pytest.mark.parametrize(
    "family, prompt_length, said", [("bert", 4, "another backbone"), ("roberta", 6, "another prompt length")]
)
def test_of_another_run(refused, run, runs, family, prompt_length, said):
    other = runs(family, prompt_length)
    said = f"made for {said}"
    made = said, "give one made for this run"
    for stage in ("mean", "prune"):
        refused(on(stage, "--thresholds", other / "moments.safetensors"), "moments.safetensors", *made)
        refused(on(stage, "--thresholds", other / "hits-test.safetensors"), "hits-test.safetensors", *made)
    if said == "made for another backbone":  # a ranking is of neurons, whatever the prompt
        refused(on("mask", "--neurons", other / "neurons.safetensors"), "neurons.safetensors", *made)
        refused(on("prune", "--neurons", other / "neurons.safetensors"), "neurons.safetensors", *made)
        for beside in ("--run", "--with"):
            theirs = f"{other}/hits-validation.safetensors: {said}", "give runs of one backbone"
            refused(["select", "--run", "run", beside, other, "--overwrite"], *theirs)
    probe_again = "make it again with 'skn probe --overwrite'"
    for name, stage, way_out in (
        ("moments", "mean", probe_again),
        ("moments", "prune", probe_again),
        ("hits-validation", "select", probe_again),
        ("tuned", "evaluate", "put this run's own back"),
    ):
        kept = (run / f"{name}.safetensors").read_bytes()
        shutil.copy(other / f"{name}.safetensors", run / f"{name}.safetensors")
        refused(on(stage), f"{name}.safetensors: {said}", way_out)
        (run / f"{name}.safetensors").write_bytes(kept)


def test_of_another_shape(refused, run):
    """What carries no digest, as imported files do not, is told by its shape."""
    artifacts.save(run / "t.safetensors", "thresholds", {"threshold": torch.zeros(3, 1, 64, dtype=torch.float64)}, {})
    artifacts.save(run / "n.safetensors", "neurons", {"rank": torch.arange(64).repeat(3, 1)}, {})
    for stage in ("mean", "prune"):
        refused(
            on(stage, "--thresholds", "run/t.safetensors"),
            "t.safetensors: thresholds of [3, 64] neurons",
            "has [3, 48]",
        )
        refused(
            on(stage, "--neurons", "run/n.safetensors"), "n.safetensors: neurons [3, 64], this backbone has [3, 48]"
        )


@pytest.mark.parametrize("stage", ["probe", "evaluate"])
def test_tuned_prompt_with_nan(refused, run, stage):
    rewrite(run / "tuned.safetensors", set_nan("prompt", 1, 7))
    refused(on(stage), "tuned.safetensors: tensor 'prompt' holds NaN", "skn train")


def test_thresholds_with_nan(refused, run):
    file = run / "t.safetensors"
    artifacts.save(file, "thresholds", {"threshold": torch.zeros(3, 1, 48, dtype=torch.float64)}, {})
    rewrite(file, set_nan("threshold", 1, 0, 5))
    for stage in ("mean", "prune"):
        refused(on(stage, "--thresholds", file), "t.safetensors: tensor 'threshold' holds NaN")


def test_probed_thresholds_with_nan(refused, run):
    """A probe may store a NaN; the sweep is refused before its first row is written, controls included."""
    rewrite(run / "moments.safetensors", set_nan("total", 0, 1, 2, 5))
    for options in (["--fraction", "0:1:0.5", "--controls", 0], ["--fraction", "0.0:0.1:0.1"]):
        refused(on("mean", *options), "the mean of neuron 1,5 is NaN", "other --thresholds")
    rewrite(run / "neurons.safetensors", lambda t: t["rank"].copy_(torch.arange(47, -1, -1).repeat(3, 1)))
    refused(on("prune"), "layer 1: a removed neuron's mean is NaN", "other --thresholds")


@pytest.mark.parametrize(
    "absent, stage, hint",
    [
        ("hits-validation", "select", "skn probe --run run"),
        ("moments", "mean", "skn probe --run run"),
        ("moments", "prune", "skn probe --run run"),
        ("neurons", "mask", "skn select"),
        ("neurons", "prune", "skn select"),
        ("neurons", "activate", "skn select"),
    ],
)
def test_stage_before_its_time(refused, run, absent, stage, hint):
    (run / f"{absent}.safetensors").unlink()
    refused(on(stage), f"{absent}.safetensors: no", hint)


def test_a_run_without_what_it_tuned_is_not_done(refused, run):
    (run / "tuned.safetensors").unlink()
    refused(on("probe"), "run: training has not finished", "skn train --resume --out run")


def test_pooled_readout_before_it_is_probed(refused, run):
    hint = "skn probe --at mean --run run"
    refused(on("select", "--readout", "mean"), "hits-mean-validation.safetensors: not there", hint)
