"""Correlation by layer and overlap beside chance: against enumerations by hand, and on sets that are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from skn.neurons.probed import Probe
from skn.neurons.probing import Hits
from skn.neurons.ranking import rank
from skn.neurons.selection import random_like
from skn.neurons.sharing import overlap, spearman_by_layer, top_set
from skn.seeds import generator

PRESENT = torch.ones(2, 6, dtype=torch.bool)
PRESENT[1, 5] = False


def of(*layers):
    chosen = torch.zeros(2, 6, dtype=torch.bool)
    for layer, neurons in enumerate(layers):
        chosen[layer, list(neurons)] = True
    return chosen


def test_chance_is_that_of_all_sets_with_as_many_neurons_of_each_layer():
    """Against every set of 2 of 6 and 3 of 5 neurons beside a fixed set of 3 and 2."""
    first, second = of((0, 1, 2), (0, 1)), of((1, 2), (1, 3, 4))
    counts = [
        len({0, 1, 2} & set(a)) + len({0, 1} & set(b))
        for a in combinations(range(6), 2)
        for b in combinations(range(5), 3)
    ]
    found = overlap(first, second, PRESENT)
    assert (found.shared, found.sizes) == (3, (5, 5))
    assert found.expected == pytest.approx(np.mean(counts)) and found.p == pytest.approx(np.mean(np.array(counts) >= 3))
    assert (found.low, found.high) == tuple(np.quantile(counts, [0.025, 0.975], method="inverted_cdf"))


def test_chance_counts_layers_apart():
    """Sets in other layers cannot share anything, however large they are."""
    found = overlap(of(range(6), ()), of((), range(5)), PRESENT)
    assert (found.shared, found.expected, found.low, found.high, found.p) == (0, 0, 0, 0, 1)
    same = overlap(of(range(6), ()), of(range(6), ()), PRESENT)
    assert (same.shared, same.expected, same.p) == (6, 6, 1)


def test_random_sets_share_what_chance_says_and_equal_sets_more():
    present = torch.ones(6, 200, dtype=torch.bool)
    chosen = torch.zeros_like(present)
    for layer in range(6):
        chosen[layer, : 5 * layer + 5] = True
    found = [overlap(chosen, random_like(chosen, present, generator(0, i)), present) for i in range(200)]
    inside = [one.low <= one.shared <= one.high for one in found]
    assert 0.93 < np.mean(inside) and np.mean([one.shared for one in found]) == pytest.approx(
        found[0].expected, rel=0.1
    )
    assert np.mean([one.p <= 0.05 for one in found]) < 0.08
    assert overlap(chosen, chosen, present).p < 1e-50


def test_a_correlation_is_of_one_layers_neurons():
    """The layers have other levels, which would correlate if the neurons of both were taken together."""
    first = torch.tensor([[0.5, 0.6, 0.7, 0.8], [0.95, 0.94, 0.93, 0.9]], dtype=torch.float64)
    second = torch.tensor([[0.5, 0.7, 0.6, 0.8], [0.9, 0.92, 0.94, torch.nan]], dtype=torch.float64)
    ranks = [rankdata(values) for values in (first[0], second[0])]
    assert spearman_by_layer(first, second) == pytest.approx([np.corrcoef(*ranks)[0, 1], -1])
    assert spearman_by_layer(first, torch.full_like(first, 0.5)) == [None, None]


def probe_of(hits, examples, **provenance):
    """A probe with these hits [C, L, F] of ``examples`` of each class."""
    found = Hits(torch.tensor([examples] * 2), hits[:, :, None], torch.zeros(hits.shape[1], 1, hits.shape[2]), None)
    present = torch.ones(hits.shape[1:], dtype=torch.bool)
    return Probe({}, {("validation", "prompt"): found}, present, provenance=provenance, confusion={})


def test_the_best_of_each_layer_and_of_all_layers():
    right = torch.tensor([[10, 9, 8, 7], [5, 7, 6, 4]])
    probe = probe_of(torch.stack([10 - right, right]), 10, task="t")
    assert top_set([probe], 0.25, overall=False).nonzero().tolist() == [[0, 0], [1, 1]]
    assert top_set([probe], 0.25, overall=True).nonzero().tolist() == [[0, 0], [0, 1]]
    assert top_set([probe], 0.5, overall=True).nonzero().tolist()[:3] == [[0, 0], [0, 1], [0, 2]]


@pytest.mark.parametrize("overall", [False, True])
def test_equal_neurons_are_shared_as_chance_says(overall):
    """Four examples tell few neurons apart: tasks that take the first of many equal ones would share too many."""
    torch.manual_seed(0)
    probes = [probe_of(torch.randint(0, 3, (2, 4, 400)), 2, task=str(task)) for task in range(24)]
    sets = [top_set([probe], 0.3, overall) for probe in probes]
    found = [overlap(a, b, probes[0].present) for a, b in combinations(sets, 2)]
    assert np.mean([one.shared for one in found]) == pytest.approx(np.mean([one.expected for one in found]), rel=0.02)
    assert np.mean([one.p <= 0.05 for one in found]) < 0.09
    first = [rank(probe).cut(0.3) for probe in probes[:8]]
    assert np.mean([overlap(a, b, probes[0].present).p <= 0.05 for a, b in combinations(first, 2)]) > 0.3
