"""The Mantel test: significance by permuting the labels of the conditions.

The pairs of conditions are not independent: one unusual condition moves all of its pairs. Permuting the labels moves
rows and columns of a distance matrix together and keeps this dependence (Mantel, "The detection of disease clustering
and a generalized regression approach", Cancer Research 1967). The greatest statistic over neurons in each permutation
controls the family-wise error (Westfall and Young 1993; Nichols and Holmes, Human Brain Mapping 2002).

skn permutes the attributes' matrices, all by the same labels. The values of a matrix stay, so its ties and denominators
stay, too. A neuron's concordance is a whole number, so it says exactly whether a permutation reached the observed
value.
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

# kendall_tau prepares each neuron once for this many columns; more columns need another preparation.
_COLUMNS = 128
# Neurons whose taus with that many columns are in memory at once: 4 MiB for tau and 4 MiB for concordance.
_NEURONS = 4096

# Partial taus are rounded. A partial tau may be smaller than the observed one by this much and still counts as equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Mantel:
    """p of every neuron by itself, and family-wise over the neurons of an attribute: float64 [A, N], NaN where tau is
    NaN.
    """

    p: np.ndarray
    family: np.ndarray


def mantel(
    distance: Tensor, attributes: Tensor, permutations: int, seed: int, partial: Partial | None = None
) -> dict[str, Mantel]:
    """One-sided Mantel tests of "tau" and, if ``partial`` is given, of "partial" taus.

    p = (1 + permutations whose statistic is at least the observed one) / (1 + permutations). For ``family``, the
    statistic is the greatest over all neurons. Memory does not grow with ``permutations``.

    Args:
        distance: any float type [pairs, N].
        attributes: any float type [pairs, A], A ≥ 1, pairs in the order of :mod:`skn.rsa.conditions`.
        permutations: 1 or more. A larger number begins with the same permutations as a smaller number.

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
    """Yield random permutations in chunks [m ≤ together, conditions] int64.

    Their sequence depends on ``seed`` alone.
    """
    source = generator(seed, "mantel", conditions)
    for start in range(0, permutations, together):
        count = min(together, permutations - start)
        yield torch.stack([torch.randperm(conditions, generator=source) for _ in range(count)])


def permute(attributes: Tensor, labels: Tensor) -> Tensor:
    """Return the distances [pairs, A] after each relabelling [m, conditions] of the conditions: [pairs, m, A]."""
    conditions = labels.shape[1]
    first, second = torch.triu_indices(conditions, conditions, 1)
    moved = pair_numbers(conditions)[labels[:, first], labels[:, second]]
    return attributes[moved.T]


def _meet_all(distance: Tensor, permuted: Tensor, counters: dict[str, _Counter], partial: Partial | None) -> None:
    """Compare one chunk of permutations [pairs, m, A] with all neurons."""
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
    """Counts the permutations that reached the observed statistic, at each neuron and at any neuron."""

    def __init__(self, exact: Tensor, value: Tensor):
        """Take the observed statistic [N, A]: ``exact`` for comparisons at one neuron, ``value`` for comparisons among
        neurons.
        """
        self.exact, self.value = exact, value
        self.reached = torch.zeros(value.shape, dtype=torch.int64)
        self.anywhere = torch.zeros(value.shape, dtype=torch.int64)
        self.greatest = value.new_empty(0)  # [m, A], for the current chunk

    def begin(self, permutations: int) -> None:
        self.greatest = self.value.new_full((permutations, self.value.shape[1]), -torch.inf)

    def add(self, rows: slice, exact: Tensor, value: Tensor) -> None:
        """Add the statistics [neurons, m, A] of some neurons under the chunk's permutations.

        ``value`` is overwritten.
        """
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
