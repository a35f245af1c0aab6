"""Areas of a probe: against scikit-learn on the activations themselves, in memory, in a file, and as a ranking."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import command
from sklearn.metrics import roc_auc_score
from spoiled import rewrite

import skn
from skn.model.backbone import Backbone
from skn.neurons import auroc as module
from skn.neurons.activations import activate_all
from skn.neurons.held_out import HeldOut, size_of
from skn.neurons.probed import read_probe
from skn.store import artifacts

WORDS = ["negative", "positive"]
SMALL = {"prompt_length": 4, "epochs": 0, "batch_size": 16}
np_memmap = np.memmap
AREAS = [f"auroc-{split}.safetensors" for split in ("validation", "test")]


@pytest.fixture(scope="module")
def small(tiny, corpus_folder):
    return skn.tune(tiny("roberta"), skn.load_data(corpus_folder), WORDS, **SMALL)


@pytest.fixture(scope="module")
def probe(small):
    return skn.probe(small, auroc=True)


def by_sklearn(values, label, classes):
    """Areas [C, L, P, F] of activations [N, L, P, F]."""
    shape = values.shape[1:]
    columns = values.reshape(len(values), -1).T.astype(np.float64)
    areas = [[roc_auc_score(label == c, column) for column in columns] for c in range(classes)]
    return np.array(areas).reshape(classes, *shape)


# The probe ------------------------------------------------------------------------------------------------


def test_areas_of_a_run_are_those_of_its_activations(small, probe, tmp_path):
    for split in ("validation", "test"):
        kept = artifacts.load(activate_all(small, tmp_path / f"{split}.safetensors", split), "activations")
        values, label = kept["activations"].numpy(), small.encoded(split).label
        np.testing.assert_allclose(probe.area(split).numpy(), by_sklearn(values, label.numpy(), 2), rtol=0, atol=1e-12)
        areas = probe.hits_of(split).areas
        assert areas.count.tolist() == torch.bincount(label).tolist() and not areas.nan.any()


def test_other_readouts_and_low_precision(tiny, corpus_folder):
    """Pooled activations are float32 in a model of bfloat16; the pruned neurons of a layer have no area."""
    run = skn.tune(tiny("roberta"), skn.load_data(corpus_folder), WORDS, dtype="bfloat16", **SMALL)
    found = skn.probe(run, at=["prompt", "mean", "max"], auroc=True)
    for readout, positions in (("prompt", 4), ("mean", 1), ("max", 1)):
        area = found.area("test", readout)
        assert area.shape == (2, 3, positions, 48) and not area.isnan().any()
        torch.testing.assert_close(area[0], 1 - area[1], rtol=0, atol=1e-12)


def test_without_areas_nothing_else_changes(small, probe):
    plain = skn.probe(small)
    assert torch.equal(plain.hits_of("test").hits, probe.hits_of("test").hits)
    with pytest.raises(skn.InputError, match=r"the probe: no areas there; probe the run again with auroc=True"):
        plain.area("test")


@pytest.mark.parametrize("folder", [None, "own"])
def test_what_memory_does_not_hold_goes_into_a_file_that_leaves_nothing(
    small, probe, monkeypatch, tmp_path, caplog, folder
):
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    (tmp_path / "system").mkdir()
    out = None if folder is None else tmp_path / "own"
    made = []
    monkeypatch.setattr("skn.neurons.held_out.np.memmap", lambda *a, **k: made.append(a) or np_memmap(*a, **k))
    with caplog.at_level("INFO", logger="skn"):
        found = skn.probe(small, auroc=True, out=out)
    assert len(made) == 2 and torch.equal(found.area("test"), probe.area("test"))
    size = size_of(small.model.backbone.ffn_sites, 40, 4, torch.float32) / 1e6
    where = tmp_path / ("system" if out is None else "own")
    assert f"all 40 texts of test: {size:.1f} MB in a temporary file in {where}" in caplog.text
    assert not list((tmp_path / "system").iterdir())
    if out is not None:
        assert {file.suffix for file in out.iterdir()} <= {".safetensors", ".lock", ".json"}


def test_a_full_disk_is_one_line_and_leaves_nothing(small, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    monkeypatch.setattr(os, "posix_fallocate", full)
    moments = skn.probe(small, out=tmp_path).moments
    assert moments
    before = sorted(tmp_path.iterdir())
    with pytest.raises(skn.InputError, match=r"GB for activations cannot be made there \(No space left on device\)"):
        skn.probe(small, auroc=True, out=tmp_path, resume=True)
    assert sorted(tmp_path.iterdir()) == before


# The store ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_store_gives_back_every_layer(tiny, tmp_path, dtype):
    sites = Backbone.load(str(tiny("roberta"))).ffn_sites
    generator = torch.Generator().manual_seed(0)
    act = {site.layer: torch.randn(7, 3, site.width, generator=generator).to(dtype) for site in sites}
    for folder in (None, tmp_path):
        store = HeldOut(sites, 7, 3, dtype, folder)
        for rows in ([4, 0, 6], [1, 2, 3, 5]):
            for site in sites:
                store.add(site, act[site.layer][rows], torch.tensor(rows))
        for site in sites:
            assert torch.equal(store.layer(site.layer), act[site.layer])
    assert not list(tmp_path.iterdir())
    with pytest.raises(AssertionError, match="float64"):
        store.add(sites[0], act[0].double(), torch.arange(7))


# Files ----------------------------------------------------------------------------------------------------


def test_files_and_the_ranking_by_them(run, refused, capsys):
    refused(["select", "--run", run, "--by", "auroc", "--overwrite"], "no areas there", "--auroc --resume")
    moments = (run / "moments.safetensors").stat().st_mtime_ns
    assert command(["probe", "--run", run, "--auroc", "--resume"]) == 0
    assert (run / "moments.safetensors").stat().st_mtime_ns == moments
    found = artifacts.load(run / AREAS[0], "auroc")
    assert found["area"].shape == (2, 3, 4, 48) and found.meta["split"] == "validation"
    capsys.readouterr()
    assert command(["select", "--run", run, "--by", "auroc", "--overwrite"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "area under the ROC" in said
    neurons = artifacts.load(run / "neurons.safetensors", "neurons")
    best = torch.maximum(found["area"], 1 - found["area"]).amax(dim=(0, 2))
    torch.testing.assert_close(neurons["score"], best, rtol=0, atol=1e-12)
    assert neurons.meta["by"] == "auroc"
    assert command(["report", "--run", run]) == 0
    assert "area under its ROC curve" in next(run.rglob("index.html")).read_text()
    refused(["probe", "--run", run, "--auroc"], "exists already")
    refused(
        ["select", "--run", run, "--by", "auroc", "--contrast", "1:0", "--overwrite"],
        "--contrast and --by auroc exclude each other",
    )


def test_resuming_keeps_the_areas_and_a_new_probe_drops_them(run):
    assert command(["probe", "--run", run, "--auroc", "--overwrite"]) == 0
    times = [(run / name).stat().st_mtime_ns for name in AREAS]
    assert command(["probe", "--run", run, "--auroc", "--resume"]) == 0
    assert [(run / name).stat().st_mtime_ns for name in AREAS] == times
    assert skn.open_run(run).path == run
    probe = skn.probe(skn.open_run(run), auroc=True, out=run, resume=True)
    assert torch.equal(probe.area("test"), artifacts.load(run / AREAS[1], "auroc")["area"])
    assert command(["probe", "--run", run, "--overwrite"]) == 0
    assert not any((run / name).exists() for name in AREAS)


def test_areas_of_another_pass_are_refused(run, refused):
    assert command(["probe", "--run", run, "--auroc", "--resume"]) == 0
    file = run / AREAS[0]
    found = artifacts.load(file, "auroc")
    artifacts.save(file, "auroc", found.tensors, {**found.provenance, "dtype": "bfloat16"}, **found.meta)
    select = ["select", "--run", run, "--by", "auroc", "--overwrite"]
    refused(select, AREAS[0], "made for another dtype", "'skn probe --auroc --overwrite'")
    artifacts.save(file, "auroc", found.tensors, found.provenance, **found.meta)
    rewrite(file, lambda tensors: tensors.update({name: tensors[name][..., :5].clone() for name in ("area", "nan")}))
    refused(select, AREAS[0], "'skn probe --auroc --overwrite'")


# The ranking ----------------------------------------------------------------------------------------------


def with_areas(probe, area, classes=2):
    """The probe with these areas [C, L, P, F] on validation."""
    hits = probe.hits_of("validation")
    count = torch.full((classes,), 20)
    shown = hits.hits[:1].expand(classes, *hits.hits.shape[1:])
    areas = module.Areas(area, torch.zeros_like(hits.hits[0]), count)
    return replace(
        probe, hits={("validation", "prompt"): replace(hits, count=count, hits=shown, areas=areas)}, moments={}
    )


def test_a_neuron_is_ranked_at_its_best_class_and_position_in_either_direction(probe):
    area = torch.full((3, 3, 4, 48), 0.5, dtype=torch.float64)
    area[2, 0, 3, 7], area[0, 0, 1, 9], area[1, 0, 0, 11] = 0.9, 0.05, 0.8
    ranking = skn.rank(with_areas(probe, area, classes=3), by="auroc")
    assert ranking.best(3) == [(0, 9), (0, 7), (0, 11)] and ranking.meta["rankings"] == 1
    assert ranking.score[0, [9, 7, 11]].tolist() == [0.95, 0.9, 0.8]


def test_seeds_are_joined_by_mean_or_minimum(probe):
    area = torch.full((2, 3, 4, 48), 0.5, dtype=torch.float64)
    one, two = area.clone(), area.clone()
    one[1, 1, 2, 5], two[1, 1, 0, 5] = 0.9, 0.3
    seeds = [with_areas(probe, one), with_areas(probe, two)]
    seeds[1] = replace(seeds[1], provenance={**probe.provenance, "seed": 7, "tuned": "other"})
    for how, score in (("mean", 0.8), ("min", 0.7)):
        assert skn.rank(seeds, by="auroc", aggregate=how).score[1, 5].item() == pytest.approx(score)
    with pytest.raises(skn.InputError, match="no areas there"):
        skn.rank([seeds[0], replace(seeds[1], hits={k: replace(h, areas=None) for k, h in seeds[1].hits.items()})],
                 by="auroc")  # fmt: skip


def test_on_test_a_neuron_is_read_at_the_place_that_validation_chose(run, capsys):
    assert command(["probe", "--run", run, "--auroc", "--resume"]) == 0
    areas = [artifacts.load(run / name, "auroc") for name in AREAS]
    for file, values in zip(AREAS, ([0.2, 0.6, 0.5, 0.5], [0.31, 0.99, 0.5, 0.5]), strict=True):
        found = areas[AREAS.index(file)]
        table = torch.full_like(found["area"], 0.5)
        table[1, 2, :, 7] = torch.tensor(values, dtype=torch.float64)
        table[0] = 1 - table[1]
        artifacts.save(run / file, "auroc", {**found.tensors, "area": table}, found.provenance, **found.meta)
    capsys.readouterr()
    assert command(["select", "--run", run, "--by", "auroc", "--overwrite"]) == 0
    assert "0.8000" in (said := capsys.readouterr().out) and "0.6900" in said


def test_a_probe_read_from_files_has_its_areas(run):
    assert command(["probe", "--run", run, "--auroc", "--resume"]) == 0
    hits = artifacts.load(run / "hits-test.safetensors", "hits")
    assert read_probe(hits, run / AREAS[1]).area("test").shape == (2, 3, 4, 48)
