"""Columns of many kinds, and their Kendall's tau by scipy and by a comparison of every pair."""

import warnings

import numpy as np
import torch
from scipy.stats import kendalltau

ALL = ("normal", "few", "many", "constant", "special", "close", "close and tied", "nan", "rising", "falling")


def by_scipy(x, y):
    """Return scipy's tau of every column of x with every column of y."""
    x, y = x.to(torch.float64).numpy(), y.to(torch.float64).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about p-values, which nobody reads
        method = "asymptotic" if len(x) > 2 else "auto"
        taus = [kendalltau(a, b, method=method).statistic for a in x.T for b in y.T]
    return np.array(taus).reshape(x.shape[1], y.shape[1])


def by_pairs(x, y):
    """Compute all four results from every pair of rows and every group of equal values."""
    x, y = x.to(torch.float64).numpy(), y.to(torch.float64).numpy()
    concordance = np.zeros((x.shape[1], y.shape[1]), dtype=np.int64)
    upper = np.triu_indices(len(x), 1)
    for i, a in enumerate(x.T):
        for j, b in enumerate(y.T):
            signs = [np.greater.outer(v, v).astype(int) - np.less.outer(v, v) for v in (a, b)]
            concordance[i, j] = 0 if np.isnan([a, b]).any() else (signs[0] * signs[1])[upper].sum()
    ties = [np.array([tie_sums(column) for column in side.T], dtype=np.int64).reshape(-1, 3) for side in (x, y)]
    return concordance, *ties


def tie_sums(column):
    if np.isnan(column).any():
        return 0, 0, 0
    t = np.unique(column + 0.0, return_counts=True)[1]
    return (t * (t - 1) // 2).sum(), (t * (t - 1) * (t - 2)).sum(), (t * (t - 1) * (2 * t + 5)).sum()


def assert_right(result, x, y):
    assert [r.dtype for r in result] == [torch.float64, torch.int64, torch.int64, torch.int64]
    np.testing.assert_array_equal(result[0].numpy(), by_scipy(x, y))
    for found, expected in zip(result[1:], by_pairs(x, y), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)


def columns(n, kinds, seed=0, dtype=torch.float64):
    """Return one column for each kind of value."""
    rng = np.random.default_rng(seed)
    special = [np.inf, -np.inf, 0.0, -0.0, 1e-300, -1e-300, 1.0, 1.0 + 1e-15, 3e300]
    make = {
        "normal": lambda: rng.normal(size=n),
        "few": lambda: rng.integers(3, size=n).astype(float),
        "many": lambda: rng.integers(max(2, n), size=n) - n / 2,
        "constant": lambda: np.full(n, 7.0),
        "special": lambda: rng.choice(special, size=n),
        "close": lambda: 1 + rng.permutation(n) * 1e-14,  # different in float64 only
        "close and tied": lambda: 1 + rng.integers(n, size=n) * 1e-14,
        "nan": lambda: np.where(np.arange(n) == n // 2, np.nan, rng.normal(size=n)),
        "rising": lambda: np.arange(n, dtype=float),
        "falling": lambda: -np.arange(n, dtype=float),
    }
    return torch.from_numpy(np.stack([make[kind]() for kind in kinds], 1)).to(dtype)
