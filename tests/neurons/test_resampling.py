"""Kind "resample": who gives the activations, and what masks of planted units cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from two_skills import planted_runs, units

import skn
from skn.errors import InputError
from skn.inference.resample import Resample
from skn.neurons.mask_table import MaskTable
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.resampling import Resampling, donors
from skn.ops import native


@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_each_example_gives_to_one_other(count):
    for seed in range(5):
        donor = donors(seed, count)
        assert (donor != torch.arange(count)).all()
        assert sorted(donor.tolist()) == list(range(count))
        assert torch.equal(donor, donors(seed, count))
    assert count < 7 or len({tuple(donors(seed, count).tolist()) for seed in range(5)}) == 5


def test_one_example_has_no_donor():
    with pytest.raises(
        InputError, match='^kind="resample": needs another example of the split as donor; the split has 1$'
    ):
        donors(0, 1)


@pytest.fixture(scope="module")
def run():
    return planted_runs(200)["first"]


@pytest.fixture(scope="module")
def chosen(run):
    return NeuronSets(selected=units("first"), provenance=run.provenance)


@pytest.fixture(scope="module")
def table(run, chosen):
    return skn.mask(run, chosen, kind="resample", controls=10)


def test_planted_units_of_another_text_say_the_class_of_the_other_text(run, table):
    """So about half of the answers are right, although every unit keeps its usual values."""
    (row,), label = table.rows, run.texts.label
    alike = (label[donors(0, len(label))] == label).double().mean().item()
    assert row["accuracy"] == pytest.approx(alike) and 0.4 <= alike <= 0.6


def test_random_units_cost_little(table):
    """A random set may hold a planted unit, but hardly ever two."""
    draws = sorted(table.rows[0]["controls"]["accuracy"]["draws"])
    assert draws[2] >= 0.95 and draws[0] > table.rows[0]["accuracy"] + 0.2


def test_all_masks_have_the_same_donors(run, chosen, monkeypatch):
    given = []
    made = Resampling.mask
    monkeypatch.setattr(Resampling, "mask", lambda *of: given.append(made(*of)) or given[-1])
    skn.mask(run, chosen, kind="resample", controls=3, match=["layer", "overall"], seed=4)
    assert len(given) == 7 and all(isinstance(one, Resample) for one in given)
    assert all(torch.equal(one.donor, donors(4, len(run.texts))) for one in given)
    assert len({tuple(one.chosen.flatten().tolist()) for one in given}) > 3


def test_the_file_says_how_many_positions_kept_their_own(run, chosen, table, tmp_path):
    lengths = torch.tensor([len(text) for text in run.texts.input_ids])
    longer = (lengths - lengths[donors(0, len(lengths))]).clamp(min=0).sum().item()
    kept = longer / (lengths.sum().item() + 4 * len(lengths))  # a prompt of four positions
    assert table.document["kept_own"] == pytest.approx(kept) and 0.01 < kept < 0.2
    assert f"resample (own activations at {100 * kept:.1f}% of positions)" in table.table().title
    file = tmp_path / "mask.json"
    skn.mask(run, chosen, kind="resample", controls=0, seed=1, out=file)
    again = skn.mask(run, chosen, kind="resample", controls=0, seed=1, out=file, resume=True)
    assert again.document["kept_own"] != table.document["kept_own"]
    assert skn.mask(run, chosen, controls=0).document["kept_own"] is None


@pytest.mark.parametrize("engine", ["fast", "hf"])
def test_it_runs_on_the_engine_of_the_run(run, chosen, table, engine):
    """Both find the same, and the same positions keep their own activations."""
    if engine == "fast" and native.isa() is None:
        pytest.skip("no native library")
    other = replace(run, provenance={**run.provenance, "engine": engine})
    again = skn.mask(other, chosen, kind="resample", controls=10)
    assert MaskTable(again.document).document["engine"] == engine
    assert again.document["kept_own"] == table.document["kept_own"]
    assert again.rows[0]["accuracy"] == table.rows[0]["accuracy"]
    assert again.rows[0]["auc"] == pytest.approx(table.rows[0]["auc"], abs=1e-3)


def test_a_run_without_donors_is_refused_before_any_is_measured(run, chosen, tmp_path):
    other = planted_runs(50)["second"]
    lonely = replace(other, texts=other.texts.take([0]))
    with pytest.raises(InputError, match="needs another example of the split"):
        skn.off_target(run, [lonely], chosen, kind="resample", controls=1, out=tmp_path / "harm.json")
    assert not any(tmp_path.iterdir())


def test_off_target(run, chosen):
    """Each run has donors among its own texts."""
    other = planted_runs(50)["second"]
    harm = skn.off_target(run, [other], chosen, kind="resample", controls=5)
    own, theirs = harm.runs
    assert own["rows"][0]["excess"] > 0.35 and abs(theirs["rows"][0]["excess"]) < 0.1
    assert own["kept_own"] == Resampling.of(run, run.texts, 0).kept_own
    assert theirs["kept_own"] == Resampling.of(other, other.texts, 0).kept_own != own["kept_own"]
    said = [note for note in harm.notes if "keep their own activations at" in note]
    assert len(said) == 2 and said[0].startswith(f"{own['run']}: ")
