"""Mantel permutations: counts against a plain loop, chunks, memory, and what is found where the truth is known."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from planted_geometry import planted, power_and_false_share
from scipy.spatial.distance import squareform
from scipy.stats import kendalltau

from skn.rsa import mantel as module
from skn.rsa.mantel import mantel, permuted_labels
from skn.rsa.partial_tau import Partial
from skn.rsa.searchlight import benjamini_hochberg, distances, searchlight

NAMES = ["a", "b", "c"]


@pytest.fixture
def small():
    """Distances [15 pairs of 6 conditions, 9 neurons], the last one constant, and of 3 attributes, with ties."""
    rng = np.random.default_rng(0)
    distance = rng.integers(12, size=(15, 9)).astype(float)
    distance[:, -1] = 1
    return torch.from_numpy(distance), torch.from_numpy(rng.integers(5, size=(15, 3)).astype(float))


def by_loop(distance, attributes, permutations, seed):
    """p and family p by permuting the neurons' square matrices and asking scipy: the other side, the other way."""
    observed = taus(distance, attributes)
    reached, anywhere = np.zeros_like(observed), np.zeros_like(observed)
    for chunk in permuted_labels(6, permutations, seed, 7):
        for labels in chunk.numpy():
            back = np.argsort(labels)
            moved = np.stack([squareform(squareform(d)[np.ix_(back, back)]) for d in distance.numpy().T], axis=1)
            found = taus(torch.from_numpy(moved), attributes)
            reached += found >= observed - 1e-12
            anywhere += found.max(axis=0) >= observed - 1e-12
    return [(1 + count.T) / (1 + permutations) for count in (reached, anywhere)]


def taus(x, y):
    return np.array([[kendalltau(a, b).statistic for b in y.numpy().T] for a in x.numpy().T])


def test_counts_are_those_of_a_loop(small):
    distance, attributes = small
    found = mantel(distance, attributes, 60, seed=3)["tau"]
    p, family = by_loop(distance[:, :-1], attributes, 60, seed=3)
    np.testing.assert_allclose(found.p[:, :-1], p, rtol=1e-15)
    np.testing.assert_allclose(found.family[:, :-1], family, rtol=1e-15)
    assert np.isnan(found.p[:, -1]).all() and np.isnan(found.family[:, -1]).all()


def test_partial_counts_are_those_of_partial_taus(small):
    distance, attributes = small
    partial = Partial(attributes, NAMES)
    found = mantel(distance, attributes, 40, seed=3, partial=partial)["partial"]
    observed = partial(torch.from_numpy(taus(distance[:, :-1], attributes))).numpy()
    reached = np.zeros_like(observed)
    for (labels,) in permuted_labels(6, 40, 3, 1):
        back = torch.argsort(labels)
        moved = [squareform(squareform(d)[np.ix_(back, back)]) for d in distance[:, :-1].numpy().T]
        reached += (
            partial(torch.from_numpy(taus(torch.from_numpy(np.stack(moved, 1)), attributes))).numpy() >= observed - 1e-9
        )
    np.testing.assert_allclose(found.p[:, :-1], (1 + reached.T) / 41, rtol=1e-15)
    assert np.isnan(found.p[:, -1]).all() and (found.family[:, :-1] >= found.p[:, :-1]).all()


def test_a_constant_attribute_has_no_p(small):
    distance, attributes = small
    beside = torch.cat([attributes, torch.ones(15, 1, dtype=torch.float64)], dim=1)
    found, without = mantel(distance, beside, 20, 0)["tau"], mantel(distance, attributes, 20, 0)["tau"]
    assert np.isnan(found.p[3]).all() and np.isnan(found.family[3]).all()
    np.testing.assert_array_equal(found.p[:3], without.p)
    np.testing.assert_array_equal(found.family[:3], without.family)


@pytest.mark.parametrize("columns, neurons", [(1, 1), (10, 4), (1000, 1000)])
def test_chunks_change_nothing(small, monkeypatch, columns, neurons):
    distance, attributes = small
    partial = Partial(attributes, NAMES)
    before = mantel(distance, attributes, 30, 5, partial)
    monkeypatch.setattr(module, "_COLUMNS", columns)
    monkeypatch.setattr(module, "_NEURONS", neurons)
    after = mantel(distance, attributes, 30, 5, partial)
    for name in ("tau", "partial"):
        np.testing.assert_array_equal(after[name].p, before[name].p)
        np.testing.assert_array_equal(after[name].family, before[name].family)


def test_permutations_are_a_function_of_the_seed():
    few, many = (torch.cat(list(permuted_labels(9, n, 4, together))) for n, together in ((10, 3), (25, 25)))
    assert torch.equal(few, many[:10])
    assert all(sorted(row) == list(range(9)) for row in many.tolist())
    assert not torch.equal(many, torch.cat(list(permuted_labels(9, 25, 5, 25))))


MEMORY = """
import torch
from skn.rsa.mantel import mantel

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

generator = torch.Generator().manual_seed(0)
distance, attribute = (torch.randn(15, n, generator=generator) for n in (1000, 1))
mantel(distance, attribute, 500, 0)
before = peak()
mantel(distance, attribute, 10_000, 0)
print(peak() - before)
"""


def test_memory_does_not_grow_with_permutations():
    """Held all at once, the taus and concordances of the long run would take 150 MB. In a process that held nothing before."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 20, run.stdout


def test_planted_neurons_are_found_and_little_else():
    """200 of 2,000 neurons carry the attribute. The share of false discoveries is held on average, at 0.05 · 0.9."""
    data = planted(seed=1, neurons=2000, carriers=200)
    distance = distances(data.activations)
    q = benjamini_hochberg(mantel(distance, data.distance, 10_000, seed=1)["tau"].p[0])
    power, false = power_and_false_share(q, data.carries)
    assert power >= 0.95 and false <= 0.05, (power, false)
    _, parametric = power_and_false_share(searchlight(distance, data.distance).q[0], data.carries)
    assert parametric > 0.3, parametric


def test_family_wise_error_of_an_attribute_that_nothing_carries():
    """At 0.05 five of 100 data sets are expected to show something; twelve or more would be one case in 250."""
    shown = 0
    for seed in range(100):
        data = planted(seed, neurons=150, carriers=0, conditions=10, seeds=2)
        family = mantel(distances(data.activations), data.distance, 199, seed)["tau"].family
        shown += bool((family <= 0.05).any())
    assert 1 <= shown <= 11, shown
