"""Histograms of several neurons, and the texts that they answer most to, from what ``skn activate`` stores."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pages import Page
from refusals import command

import skn
from skn.errors import InputError
from skn.neurons.extremes import Extremes, extremes
from skn.reports.activation_sections import LONGEST
from skn.reports.read_run import collect, report
from skn.runs.run import Run
from skn.store import artifacts


@pytest.fixture(scope="module")
def stored(runs, tmp_path_factory) -> Path:
    """A run with the activations of its ten best neurons; no test writes there."""
    out = Path(shutil.copytree(runs(), tmp_path_factory.mktemp("stored") / "run"))
    assert command(["activate", "--run", out, "--best", 10, "--overwrite"]) == 0
    return out


@pytest.fixture
def run(stored, tmp_path) -> Run:
    return Run.open(Path(shutil.copytree(stored, tmp_path / "run")))


def file_of(run):
    return run.file("activations", "neuron", "test")


def test_the_best_are_those_of_the_ranking(run):
    loaded = skn.open_run(run.path)
    activations = artifacts.load(file_of(run), "activations")
    best = loaded.path and skn.NeuronSets.load(
        run.file("neurons"), loaded.provenance, loaded.model.backbone.present
    ).best(10)
    assert [tuple(pair) for pair in activations.meta["neurons"]] == best
    one_by_one = [skn.activate(loaded, [place]) for place in best]
    assert torch.equal(activations["activations"], torch.cat([one.values for one in one_by_one], dim=-1))
    assert activations.meta["positions"] == [one.meta["position"] for one in one_by_one]
    assert activations["row"].tolist() == loaded.data.rows["test"]
    both = skn.activate(loaded, [best[3]], best=2)
    assert [tuple(pair) for pair in both.meta["neurons"]] == [*best[:2], best[3]]


def test_a_run_in_memory_says_the_positions_that_its_probe_found(run):
    stored = artifacts.load(file_of(run), "activations").meta
    assert len(set(stored["positions"])) > 1
    in_memory = replace(skn.open_run(run.path), path=None)
    ranking = skn.rank(skn.probe(in_memory))
    assert skn.activate(in_memory, best=10, ranking=ranking).meta["positions"] == stored["positions"]
    other = replace(in_memory, provenance={**in_memory.provenance, "tuned": "another"})
    assert set(skn.activate(other, best=10, ranking=ranking).meta["positions"]) == {
        0
    }  # of a prompt that was not probed


def test_a_moved_run_has_the_same_page(run, tmp_path):
    before = report(run.path).read_bytes()
    moved = Path(shutil.move(run.path, tmp_path / "moved"))
    assert report(Run.open(moved).path).read_bytes() == before and str(tmp_path).encode() not in before


def test_what_is_no_number_of_neurons(run, refused):
    refused(["activate", "--run", run.path], "say what to read: --best N, --neuron LAYER,NEURON")
    refused(["activate", "--run", run.path, "--best", 3, "--all"], "say what to read: --best N")
    for count in (0, -1, 1.5):
        with pytest.raises(InputError, match="best=.*: a number of neurons, 1 or more"):
            skn.activate(skn.open_run(run.path), best=count)


def test_all_that_are_stored_are_drawn(run):
    page = Page(report(run.path).read_text())
    assert "Below it stand the first 10 neurons that are stored" in page.text
    assert (run.path / "report" / "histograms-test.png").is_file()
    bars = (run.path / "report" / "histograms-test.csv").read_text().splitlines()
    assert bars[0].startswith("layer,neuron,position,from,to,") and len(bars) == 1 + 10 * 20


def test_texts_with_the_highest_and_the_lowest_activation(run):
    loaded, found = skn.open_run(run.path), collect(run)
    activations, test = artifacts.load(file_of(run), "activations"), loaded.data.split("test")
    assert len(found.texts) == 10 and found.texts_missing is None
    for slot, shown in enumerate(found.texts):
        values = activations["activations"][:, 0, shown.position, slot].tolist()
        by_value = sorted(zip(values, test.text, test.label, strict=True), key=lambda one: -one[0])
        assert [one.activation for one in shown.highest] == [value for value, *_ in by_value[:5]]
        assert {one.text for one in shown.lowest} <= {text for value, text, _ in by_value if value <= by_value[-5][0]}
        named = {text: loaded.class_names[label] for _, text, label in by_value}
        assert all(named[one.text] == one.label for one in (*shown.highest, *shown.lowest))
    page = Page(report(run.path).read_text())
    assert f"highest {found.texts[0].highest[0].activation:.3f} {found.texts[0].highest[0].label}" in page.text


def test_files_of_older_versions_have_no_rows(run):
    expected = collect(run).texts[0]
    old = artifacts.load(file_of(run), "activations")
    tensors = {name: tensor for name, tensor in old.tensors.items() if name != "row"}
    meta = {name: value for name, value in old.meta.items() if name != "positions"}
    artifacts.save(old.path, "activations", tensors, old.provenance, **meta)
    found = collect(run)
    assert found.texts == [expected] and len(found.histograms) == 1


@pytest.mark.parametrize("row", [-1, 10**6])
def test_rows_that_the_data_has_not(run, row):
    found = artifacts.load(file_of(run), "activations")
    rows = found["row"].clone()
    rows[0] = row
    artifacts.save(found.path, "activations", {**found.tensors, "row": rows}, found.provenance, **found.meta)
    shown = collect(run)
    assert shown.texts == [] and "is not of these rows" in shown.texts_missing


def test_texts_are_words_and_no_markup(run, tmp_path, monkeypatch):
    monkeypatch.setattr("skn.reports.read_activations._shown", hostile(run))
    text = report(run.path).read_text()
    assert "<img" not in text.replace('<img src="data:', "") and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "x" * LONGEST not in text and "x" * 200 + "…" not in text


def hostile(run):
    from skn.reports.read_activations import TextOfNeuron

    return lambda *_: TextOfNeuron("<img src=x onerror=alert(1)> {{ 7 * 7 }} " + "x" * 999, "</td>", 1.0)


def test_data_that_is_gone_or_moved(stored, tmp_path, tiny, corpus_folder, request_for):
    folder = Path(shutil.copytree(corpus_folder, tmp_path / "data"))
    request = ["train", "--backbone", tiny("roberta"), "--data", folder, "--prompt-length", 4, "--epochs", 0]
    assert command([*request, "--out", tmp_path / "r"]) == 0
    assert command(["activate", "--run", tmp_path / "r", "--neuron", "1,3"]) == 0
    folder.rename(tmp_path / "elsewhere")
    page = Page(report(tmp_path / "r").read_text())
    assert "The texts cannot be shown:" in page.text and "the data of" in page.text and "highest" not in page.text
    assert command(["report", "--run", tmp_path / "r", "--data", tmp_path / "elsewhere"]) == 0
    assert "highest" in Page((tmp_path / "r" / "report" / "index.html").read_text()).text


def test_data_that_is_not_where_the_user_says(run, tmp_path, refused):
    refused(["report", "--run", run.path, "--data", tmp_path / "nowhere"], "nowhere: no such file or folder")
    assert not (run.path / "report").exists()


def test_a_run_without_stored_activations_says_how_to_store_them(run):
    file_of(run).unlink()
    page = Page(report(run.path).read_text())
    assert "'skn activate --run RUN --best 10' stores those" in page.text and "texts" not in page.sections


# ---- the examples at the ends ----------------------------------------------------------------------------------


def test_extremes():
    found = extremes(torch.tensor([0.0, 3, float("nan"), -1, 3, 2]), 2)
    assert (found.highest, found.lowest) == ([1, 4], [3, 0])
    assert extremes(torch.tensor([1.0, 2, 3]), 5).highest == [2, 1] and extremes(
        torch.tensor([1.0, 2, 3]), 5
    ).lowest == [0]
    assert extremes(torch.full((3,), float("nan")), 2).highest == []
    same = extremes(torch.zeros(20), 3)  # a neuron that is always off
    assert (same.highest, same.lowest) == ([0, 1, 2], [3, 4, 5])
    assert extremes(torch.tensor([0.0, 0, 0, 1]), 2) == Extremes([3, 0], [1, 2])
    act = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert extremes(act, 3).lowest == act.argsort()[:3].tolist()
