"""The Mantel test: significance by permuting the labels of the conditions.

The pairs of conditions are not independent: one unusual condition moves all of its pairs. Permuting the labels moves
rows and columns of a distance matrix together and keeps that dependence (Mantel, "The detection of disease clustering
and a generalized regression approach", Cancer Research 1967). The greatest statistic over neurons in each permutation
controls the family-wise error (Westfall and Young 1993; Nichols and Holmes, Human Brain Mapping 2002).

The attributes' matrices are permuted, all by the same labels. Their values stay, so ties and denominators do too, and
a neuron's concordance, a whole number, says exactly whether a permutation reached what was observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skn import ops
from skn.progress import track
from skn.rsa.conditions import condition_count, pair_numbers
from skn.rsa.partial_tau import Partial
from skn.seeds import generator

# Columns that kendall_tau prepares at once; more would cost every neuron another preparation.
_COLUMNS = 128
# Neurons whose taus with that many columns stand in memory at once: 4 MiB for each of tau and concordance.
_NEURONS = 4096

# Partial taus are rounded, so what equals the observed one may come out this much below; it counts as reached.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Mantel:
    """p of every neuron by itself and family-wise over the neurons of an attribute: float64 [A, N], NaN where tau is."""

    p: np.ndarray
    family: np.ndarray


def mantel(
    distance: Tensor, attributes: Tensor, permutations: int, seed: int, partial: Partial | None = None
) -> dict[str, Mantel]:
    """One-sided Mantel tests of "tau", and of "partial" taus where ``partial`` is given.

    p = (1 + permutations whose statistic is at least the observed one) / (1 + permutations); for ``family`` the
    statistic is the greatest over all neurons. Memory does not grow with ``permutations``.

    Args:
        distance: any float type [pairs, N].
        attributes: any float type [pairs, A], A ≥ 1, pairs in the order of :mod:`skn.rsa.conditions`.
        permutations: 1 or more. The first of them are the same whatever their number.

    Raises:
        RuntimeError: a shape or dtype does not fit.
    """
    conditions = condition_count(len(distance))
    tau, concordance, _, _ = ops.kendall_tau(distance, attributes)
    counters = {"tau": _Counter(concordance, tau)}
    if partial:
        observed = partial(tau) - _ROUNDING
        counters["partial"] = _Counter(observed, observed)
    together = max(1, _COLUMNS // attributes.shape[1])
    chunks = track(
        permuted_labels(conditions, permutations, seed, together), -(-permutations // together), "permutations"
    )
    for labels in chunks:
        _meet_all(distance, permute(attributes, labels), counters, partial)
    return {name: counter.result(permutations) for name, counter in counters.items()}


def permuted_labels(conditions: int, permutations: int, seed: int, together: int) -> Iterator[Tensor]:
    """Random permutations in chunks [m ≤ together, conditions] int64; their sequence depends on ``seed`` alone."""
    source = generator(seed, "mantel", conditions)
    for start in range(0, permutations, together):
        count = min(together, permutations - start)
        yield torch.stack([torch.randperm(conditions, generator=source) for _ in range(count)])


def permute(attributes: Tensor, labels: Tensor) -> Tensor:
    """[pairs, m, A]: the distances [pairs, A] after each relabelling [m, conditions] of the conditions."""
    conditions = labels.shape[1]
    first, second = torch.triu_indices(conditions, conditions, 1)
    moved = pair_numbers(conditions)[labels[:, first], labels[:, second]]
    return attributes[moved.T]


def _meet_all(distance: Tensor, permuted: Tensor, counters: dict[str, _Counter], partial: Partial | None) -> None:
    """One chunk of permutations [pairs, m, A] against all neurons."""
    shape = permuted.shape[1:]
    columns = permuted.flatten(1)
    for counter in counters.values():
        counter.begin(shape[0])
    for start in range(0, distance.shape[1], _NEURONS):
        rows = slice(start, start + _NEURONS)
        tau, concordance, _, _ = ops.kendall_tau(distance[:, rows], columns)
        tau, concordance = tau.unflatten(1, shape), concordance.unflatten(1, shape)
        if partial:
            value = partial(tau)
            counters["partial"].add(rows, value, value)
        counters["tau"].add(rows, concordance, tau)
    for counter in counters.values():
        counter.end()


class _Counter:
    """How many permutations reached the observed statistic, at each neuron and anywhere."""

    def __init__(self, exact: Tensor, value: Tensor):
        """The observed statistic [N, A]: ``exact`` to compare at one neuron, ``value`` to compare among neurons."""
        self.exact, self.value = exact, value
        self.reached = torch.zeros(value.shape, dtype=torch.int64)
        self.anywhere = torch.zeros(value.shape, dtype=torch.int64)
        self.greatest = value.new_empty(0)  # [m, A], of the chunk at hand

    def begin(self, permutations: int) -> None:
        self.greatest = self.value.new_full((permutations, self.value.shape[1]), -torch.inf)

    def add(self, rows: slice, exact: Tensor, value: Tensor) -> None:
        """Of some neurons under the chunk's permutations, [neurons, m, A]; ``value`` is overwritten."""
        self.reached[rows] += (exact >= self.exact[rows, None]).sum(dim=1)
        torch.maximum(self.greatest, value.nan_to_num_(nan=-torch.inf).amax(dim=0), out=self.greatest)

    def end(self) -> None:
        rising = self.greatest.T.contiguous().sort(dim=1).values.contiguous()
        below = torch.searchsorted(rising, self.value.T.contiguous())
        self.anywhere += len(self.greatest) - below.T

    def result(self, permutations: int) -> Mantel:
        unknown = torch.isnan(self.value)
        p, family = (
            ((1 + count).double() / (1 + permutations)).masked_fill(unknown, torch.nan).T.contiguous().numpy()
            for count in (self.reached, self.anywhere)
        )
        return Mantel(p, family)
