"""What a run's report says of its neurons: activations by class, the ranking, and what it reaches on test."""

import pytest
import torch
from filled_run import PROVENANCE, add_accuracy, add_neurons
from pages import Page

from skn.intervals import balanced_interval, share_interval
from skn.reports.read_run import report
from skn.store import artifacts


def page_of(run):
    return Page(report(run.path).read_text())


def test_threshold_and_class_table(full):
    page = page_of(full)
    assert "2 7 1 1.125" in page.text and "above the threshold" in page.text
    activations = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    above = activations["activations"][activations["label"] == 1, 0, 1, 0] > 1.125
    assert f"{above.double().mean():.1%}" in page.text
    assert "the first of the ranking" in page.text
    (full.path / "hits-test.safetensors").unlink()
    assert "2 7 1 – – –" in page_of(full).text


def test_another_neuron_is_not_called_the_best(full):
    artifact = artifacts.load(full.file("activations", "neuron", "test"), "activations")
    meta = {**artifact.meta, "neurons": [[1, 1]]}
    artifacts.save(artifact.path, "activations", artifact.tensors, PROVENANCE, **meta)
    assert "the first of the ranking" not in page_of(full).text


def test_test_accuracy_keeps_the_choice_made_on_validation(full):
    # Validation is best at position 1, inverted (0.1): on test that is 1 − 0.225, not the 0.99 of position 0.
    low, high = (f"{end:.1%}" for end in balanced_interval([0.8, 0.75], [20, 40]))
    assert f"2 7 93.7% 77.5% {low} to {high}" in page_of(full).text
    (full.path / "hits-test.safetensors").unlink()
    assert "2 7 93.7% 77.5% –" in page_of(full).text


@pytest.mark.parametrize("change", ["no validation", "other contrasts", "ranked on test"])
def test_no_test_column_that_would_flatter(full, change):
    if change == "no validation":
        (full.path / "accuracy-validation.safetensors").unlink()
    elif change == "other contrasts":
        add_accuracy(full, "test", [0.99, 0.2, 0.6, 0.5], contrasts=("0:1",))
    else:
        add_neurons(full, split="test")
    page = page_of(full)
    assert "2 7 93.7%" in page.text and "carried" not in page.sections
    assert "93.7% 77.5%" not in page.text and "93.7% 99.0%" not in page.text


@pytest.mark.parametrize("foreign", [{"with_runs": [["b"]]}, {"runs": ["a", "b"]}, {"contrasts": [[[0], [1]]]}])
def test_no_test_column_of_neurons_that_this_probe_did_not_choose(full, foreign):
    add_neurons(full, **foreign)
    assert "2 7 93.7%" in page_of(full).text and "77.5%" not in page_of(full).text


def test_fewer_neurons_than_the_table_shows(bare):
    score = torch.full((1, 5), torch.nan, dtype=torch.float64)
    score[0, 3] = 0.75
    artifacts.save(bare.file("neurons"), "neurons", {"score": score}, PROVENANCE)
    assert "The 1 most predictive neurons" in page_of(bare).text


def test_a_neuron_and_its_model_are_measured_alike(full):
    """The model answers 30 of 40 and 10 of 20 right: plain 66.7%, balanced 62.5%. The best neuron 30 of 40 and 16 of 20."""
    hits = artifacts.load(full.file("hits", "test"), "hits")
    meta = {**hits.meta, "confusion": [[10, 10], [10, 30]]}
    artifacts.save(hits.path, "hits", hits.tensors, PROVENANCE, **meta)
    ends = {"balanced": balanced_interval([0.5, 0.75], [20, 40]), "plain": share_interval(40 / 60, 60)}
    best = {"balanced": balanced_interval([0.8, 0.75], [20, 40]), "plain": share_interval(46 / 60, 60)}
    for by, named, own in (("predictivity", "balanced", "62.5%"), ("plain", "plain", "66.7%")):
        add_neurons(full, by=by)
        text = page_of(full).text
        low, high = (f"{end:.1%}" for end in ends[named])
        assert f"By the same measure the model itself reaches {own} (95%: {low} to {high}) on test." in text
        assert f"layer neuron {named} accuracy {named} accuracy on test 95% on test" in text
        assert "2 7 93.7% 77.5% {:.1%} to {:.1%}".format(*best[named]) in text
    assert "85.3% plain accuracy" in text
