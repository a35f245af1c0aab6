"""Searchlight RSA: how the distances between conditions at every neuron resemble the distances of given attributes.

Representational similarity analysis comes from Kriegeskorte, Mur and Bandettini, "Representational similarity analysis
- connecting the branches of systems neuroscience", Frontiers in Systems Neuroscience 2008. Its use for one neuron at a
time, with 27 emotions and 14 human-rated attributes, comes from Li et al., "Language-specific representation of
emotion-concept knowledge causally supports emotion inference", 2023.

Layouts: N = L·F neurons, layer-major; pairs of conditions in the order of :mod:`skn.rsa.conditions`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from scipy.stats import false_discovery_control, rankdata
from torch import Tensor

from skn import ops
from skn.rsa.conditions import pair_count

ALPHA = 0.05
FEWEST_CONDITIONS = 3  # two conditions have one pair, which has no order

# The meaning of each p and q. A report repeats these words.
MEANING = {
    "p": "one-sided, normal approximation with ties; takes the pairs of conditions as independent, which they are not: too small",
    "q": "Benjamini-Hochberg of p over the neurons of an attribute; too small as p is",
    "q_all": "Benjamini-Hochberg of p over all neurons and attributes; too small as p is",
    "p_mantel": "one-sided, from permuted condition labels, so that pairs may depend on each other; one neuron by itself",
    "q_mantel": "Benjamini-Hochberg of p_mantel over the neurons of an attribute: share of false discoveries",
    "p_family": "share of permutations whose best neuron reaches this one: chance of any false discovery in an attribute",
    "partial_p": "as p, of the partial tau that holds the other attributes constant",
    "partial_q": "as q, of partial_p",
    "partial_p_mantel": "as p_mantel, of the partial tau",
    "partial_q_mantel": "as q_mantel, of the partial tau",
    "partial_p_family": "as p_family, of the partial tau",
}

# Neurons whose distances are computed together. With 12 seeds and 27 conditions they take 1.2 MB, the cache of a core.
_BLOCK = 512


def distances(activations: Tensor) -> Tensor:
    """Distance of every two conditions at every neuron: the absolute difference of activations, averaged over seeds.

    Args:
        activations: any float type, [seed, condition, L, F] or [seed, condition, N], finite.

    Returns:
        float64 [pairs, N]; differences and means are computed in float64. A neuron's distances do not depend on the
        other neurons or on the number of threads, bit for bit.

    Source: Li et al. 2023.
    """
    exact = activations if activations.dtype == torch.float64 else activations.float()  # NumPy has no bfloat16
    values = exact.flatten(2).numpy()
    neurons, threads = values.shape[2], torch.get_num_threads()
    out = np.empty((pair_count(values.shape[1]), neurons))
    span = -(-neurons // (threads * _BLOCK)) * _BLOCK
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the interpreter lock while it computes
        starts = range(0, neurons, span)
        list(pool.map(lambda start: _fill(out[:, start : start + span], values[:, :, start : start + span]), starts))
    return torch.from_numpy(out)


def _fill(out: np.ndarray, values: np.ndarray) -> None:
    """Fill in the distances [pairs, n] of values [seed, condition, n], block by block in the same two arrays."""
    seeds, conditions, neurons = values.shape
    block = np.empty((seeds, conditions, _BLOCK))
    difference = np.empty((seeds, conditions - 1, _BLOCK))
    for start in range(0, neurons, _BLOCK):
        stop = min(start + _BLOCK, neurons)
        here = block[:, :, : stop - start]
        np.copyto(here, values[:, :, start:stop])
        row = 0
        for i in range(conditions - 1):
            others = conditions - 1 - i
            space, mean = difference[:, :others, : stop - start], out[row : row + others, start:stop]
            np.subtract(here[:, i + 1 :], here[:, i : i + 1], out=space)
            np.abs(space, out=space)
            mean[:] = space[0]
            for other in space[1:]:  # the order of np.sum would depend on the shape
                mean += other
            mean /= seeds
            row += others


@dataclass(frozen=True)
class Searchlight:
    """tau, parametric p, its q within each attribute and over all, and ranks: float64 [A, N], NaN where tau is NaN."""

    tau: np.ndarray
    p: np.ndarray
    q: np.ndarray
    q_all: np.ndarray
    rank: np.ndarray


def searchlight(distance: Tensor, attributes: Tensor) -> Searchlight:
    """Kendall's tau-b of every neuron's distances with every attribute's distances, its significance and the ranking.

    A constant column has no tau. Its values are NaN everywhere, and do not count for q and the ranks.

    Args:
        distance: any float type [pairs, N].
        attributes: any float type [pairs, A]; three pairs or more.

    Raises:
        RuntimeError: a shape or dtype does not fit.
    """
    tau, concordance, ties_x, ties_y = ops.kendall_tau(distance, attributes)
    tau_rows = _rows(tau)
    p = parametric_p(_rows(concordance), ties_y.numpy(), ties_x.numpy(), len(distance))
    p[np.isnan(tau_rows)] = np.nan
    q = np.stack([benjamini_hochberg(row) for row in p]) if len(p) else p
    return Searchlight(tau_rows, p, q, benjamini_hochberg(p), ranks(tau_rows))


def parametric_p(concordance: np.ndarray, ties_one: np.ndarray, ties_other: np.ndarray, n: int) -> np.ndarray:
    """One-sided p ("greater") of Kendall's tau by the normal approximation with ties, like scipy's asymptotic method.

    Args:
        concordance: S, int64 [A, N], of columns of ``n`` ≥ 3 rows.
        ties_one, ties_other: int64 [A, 3] and [N, 3], the tie sums of :func:`skn.ops.kendall_tau`.

    Returns:
        float64 [A, N]; without meaning where a column is constant.

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 1945; ``scipy.stats.kendalltau``.
    """
    pairs, triples, weighted = ((one[:, None], other) for one, other in zip(ties_one.T, ties_other.T, strict=True))
    m = n * (n - 1.0)
    variance = (m * (2 * n + 5) - weighted[0] - weighted[1]) / 18
    variance += 2.0 * pairs[0] * pairs[1] / m
    variance += 1.0 * triples[0] * triples[1] / (9 * m * (n - 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return ndtr(-concordance / np.sqrt(variance))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q of all values together, float64 of the same shape; NaN stays NaN and does not count as a test.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995.
    """
    known = ~np.isnan(p)
    q = np.full_like(p, np.nan)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def ranks(tau: np.ndarray) -> np.ndarray:
    """float64 [A, N]: 1 is the neuron with the greatest tau; ties share their average rank; NaN stays NaN."""
    out = np.full_like(tau, np.nan)
    for row, values in zip(out, tau, strict=True):
        known = ~np.isnan(values)
        row[known] = rankdata(-values[known])
    return out


def places(tau: np.ndarray) -> np.ndarray:
    """int64 [A, N]: 0 for the best neuron; equal taus keep the order of their index; NaN gets N, which is outside every
    top-k.

    The top-k set of an attribute holds the neurons whose place is below k.
    """
    neurons = tau.shape[1]
    order = np.argsort(-tau, axis=1, kind="stable")  # NaN comes last
    out = np.empty_like(order)
    np.put_along_axis(out, order, np.arange(neurons)[None], axis=1)
    return np.where(np.isnan(tau), neurons, out)


def _rows(table: Tensor) -> np.ndarray:
    """[N, A] as a contiguous [A, N]."""
    return table.T.contiguous().numpy()
