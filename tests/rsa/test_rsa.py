"""Distances, tau, parametric p, q and ranks against scipy and against plain loops."""

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, rankdata

from skn.rsa import searchlight as rsa
from skn.rsa.conditions import condition_count, pair_count, pair_numbers, pairs_of


def columns(n, seed):
    """Columns without ties, with few and with many, rising, and a constant one: float64 [n, 6]."""
    rng = np.random.default_rng(seed)
    made = [
        rng.normal(size=n),
        np.round(rng.normal(size=n) * n) / n,
        rng.integers(3, size=n).astype(float),
        np.where(np.arange(n) == 0, 1.0, 0.0),
        np.arange(n, dtype=float),
        np.full(n, 2.5),
    ]
    return torch.from_numpy(np.stack(made, axis=1))


@pytest.mark.parametrize("n", [3, 4, 6, 10, 15, 66, 351, 1000, 2000])
def test_tau_and_p_are_those_of_scipy(n):
    x, y = columns(n, 1), columns(n, 2)
    found = rsa.searchlight(x, y)
    for a in range(y.shape[1]):
        for i in range(x.shape[1]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the constant columns
                right = kendalltau(x[:, i], y[:, a], method="asymptotic", alternative="greater")
            np.testing.assert_allclose(found.tau[a, i], right.statistic, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found.p[a, i], right.pvalue, rtol=0, atol=1e-9)


def test_constant_columns_have_nothing_and_count_for_nothing():
    x, y = columns(66, 1), columns(66, 2)
    found = rsa.searchlight(x, y)
    alone = rsa.searchlight(x[:, :5], y[:, :5])
    for name in ("tau", "p", "q", "q_all", "rank"):
        values = getattr(found, name)
        assert np.isnan(values[5]).all() and np.isnan(values[:, 5]).all(), name
        np.testing.assert_array_equal(values[:5, :5], getattr(alone, name))


def test_distances_are_means_of_absolute_differences():
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(3, 5, 2, 7, generator=generator)
    found = rsa.distances(activations)
    assert found.dtype == torch.float64 and found.shape == (10, 14)
    values = activations.double().flatten(2).numpy()
    for neuron in range(14):
        right = np.mean([pdist(values[s, :, neuron, None], "cityblock") for s in range(3)], axis=0)
        np.testing.assert_allclose(found[:, neuron], right, rtol=1e-15)
    assert torch.equal(found, rsa.distances(activations.flatten(2)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_distances_of_other_types_are_exact(dtype):
    activations = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    assert torch.equal(rsa.distances(activations), rsa.distances(activations.double()))


def test_neighbours_change_no_bit_of_a_distance():
    activations = torch.randn(12, 4, 1100, generator=torch.Generator().manual_seed(0))
    found = rsa.distances(activations)
    for neuron in (0, 511, 512, 1023, 1024, 1099):
        assert torch.equal(rsa.distances(activations[:, :, neuron, None])[:, 0], found[:, neuron])


def test_q_is_the_definition_of_benjamini_and_hochberg():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005, 0.9, 0.04, np.nan])
    q = rsa.benjamini_hochberg(p)
    known = p[~np.isnan(p)]
    for value, own in zip(known, q[~np.isnan(p)], strict=True):
        above = [len(known) * other / (known <= other).sum() for other in known if other >= value]
        np.testing.assert_allclose(own, min(1, *above))
    assert np.isnan(q[[1, 7]]).all()
    assert np.isnan(rsa.benjamini_hochberg(np.full(3, np.nan))).all()


def test_q_is_within_an_attribute_and_q_all_over_all():
    x, y = torch.randn(45, 50, generator=torch.Generator().manual_seed(0)), columns(45, 2)[:, :3]
    found = rsa.searchlight(x, y)
    np.testing.assert_array_equal(found.q[1], rsa.benjamini_hochberg(found.p[1]))
    np.testing.assert_array_equal(found.q_all.ravel(), rsa.benjamini_hochberg(found.p.ravel()))
    assert not np.array_equal(found.q, found.q_all)


def test_ranks_share_and_leave_out():
    tau = np.array([[0.1, 0.5, np.nan, 0.5, -0.2]])
    np.testing.assert_array_equal(rsa.ranks(tau), [[3, 1.5, np.nan, 1.5, 4]])
    np.testing.assert_array_equal(rsa.places(tau), [[2, 0, 5, 1, 3]])
    values = np.random.default_rng(0).integers(9, size=(2, 40)) / 9
    np.testing.assert_array_equal(rsa.ranks(values)[1], rankdata(-values[1]))


def test_pairs_are_the_strict_lower_triangle_by_columns():
    numbers = pair_numbers(5)
    below = [(i, j) for j in range(5) for i in range(j + 1, 5)]
    assert [int(numbers[i, j]) for i, j in below] == list(range(pair_count(5)))
    assert torch.equal(numbers, numbers.T) and (numbers.diagonal() == -1).all()
    values = np.random.default_rng(0).normal(size=(5, 1))
    np.testing.assert_array_equal(pdist(values[[3, 0, 4]]), pdist(values)[pairs_of([3, 0, 4], 5)])
    assert [condition_count(n) for n in (0, 1, 3, 4, 350, 351, 352)] == [None, 2, 3, None, None, 27, None]
