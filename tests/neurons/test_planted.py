"""Probe and select find exactly the planted units; masking them, and only them, takes accuracy to chance."""

from __future__ import annotations

import pytest
import torch
from planted import LAYERS, PLANTED, WIDTH, chosen_units, planted_model, planted_split

from skn.inference.engine import predict
from skn.inference.measures import accuracy
from skn.inference.readouts import PROMPT
from skn.neurons.masking import Mask
from skn.neurons.probing import probe_hits, probe_moments
from skn.neurons.selection import balanced_accuracy, cut, default_contrasts, predictivity, random_like, rank
from skn.pruned.pruning import prune
from skn.seeds import generator


@pytest.fixture(scope="module")
def probed():
    model = planted_model()
    moments, _ = probe_moments(model, planted_split(200, 1), 300, [PROMPT], "train")
    threshold = moments[PROMPT].threshold()
    hits, _, logits = probe_hits(model, planted_split(200, 2), 300, {PROMPT: threshold}, "validation")
    found = hits[PROMPT]
    score = predictivity(balanced_accuracy(found.hits, found.count, default_contrasts(2)[0]))
    return model, score, threshold, accuracy(logits, planted_split(200, 2).label)


def masked_accuracy(model, chosen, kind="zero", mean=None, alpha=1.0):
    encoded = planted_split(200, 3)
    return accuracy(predict(model, encoded, 300, mask=Mask(kind, chosen, mean, alpha)), encoded.label)


def test_the_model_solves_the_task(probed):
    assert probed[3] == 1.0


def test_exactly_the_planted_units_predict(probed):
    _, score, _, _ = probed
    planted = chosen_units()
    assert score[planted].min() >= 0.99
    assert score[~planted].max() <= 0.75
    ranking = rank(score, torch.ones(LAYERS, WIDTH, dtype=torch.bool))
    for layer, units in PLANTED.items():
        assert set(ranking[layer].argsort()[: len(units)].tolist()) == set(units)
    best = cut(ranking, 2 / WIDTH, range(1, 3))
    assert torch.equal(best, planted)


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_masking_them_takes_accuracy_to_chance(probed, kind):
    model, _, threshold, full = probed
    assert full == 1.0
    assert masked_accuracy(model, chosen_units(), kind, threshold.mean(dim=1)) <= 0.55


def test_matched_random_masks_do_not(probed):
    model, *_ = probed
    present = ~chosen_units()
    for draw in range(20):
        chosen = random_like(chosen_units(), present, generator(0, draw))
        assert chosen.sum(dim=1).tolist() == chosen_units().sum(dim=1).tolist()
        assert masked_accuracy(model, chosen) >= 0.95


def test_keeping_only_them_keeps_the_skill(probed):
    model, _, threshold, _ = probed
    keep = chosen_units()
    keep[0, 0] = True  # a layer keeps at least one
    small = prune(model, keep, threshold.mean(dim=1), ["bad", "good"])
    encoded = planted_split(200, 3)
    assert accuracy(predict(small, encoded, 300), encoded.label) == 1.0
