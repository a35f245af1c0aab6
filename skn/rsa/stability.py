"""How stable the best neurons of an attribute are without one seed or one condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from skn import ops
from skn.progress import track
from skn.rsa.conditions import pairs_of
from skn.rsa.searchlight import FEWEST_CONDITIONS, distances, places


@dataclass(frozen=True)
class Stability:
    """Jaccard index [dropped, A, k] float64 of the top-k set without one seed (or condition) and the set with all.

    NaN if no neuron of an attribute has a tau in either set.
    """

    names: list[str]
    jaccard: np.ndarray


def without_a_seed(
    activations: Tensor, attributes: Tensor, seeds: list[int], full: np.ndarray, tops: list[int]
) -> Stability | None:
    """Leave out each seed, given activations [S, C, L, F], attributes [pairs, A] and the ``places`` [A, N] with all
    seeds.

    None for a single seed.
    """
    if len(seeds) < 2:
        return None

    def taus() -> Iterator[Tensor]:
        for dropped in range(len(seeds)):
            kept = [s for s in range(len(seeds)) if s != dropped]
            yield ops.kendall_tau(distances(activations[kept]), attributes)[0]

    return _compare([str(seed) for seed in seeds], taus(), full, tops, "leaving out seeds")


def without_a_condition(
    distance: Tensor, attributes: Tensor, conditions: list[str], full: np.ndarray, tops: list[int]
) -> Stability | None:
    """Leave out each condition, given distances [pairs, N], attributes [pairs, A] and the ``places`` with all
    conditions.

    None if too few conditions would be left.
    """
    if len(conditions) <= FEWEST_CONDITIONS:
        return None

    def taus() -> Iterator[Tensor]:
        for dropped in range(len(conditions)):
            kept = pairs_of([c for c in range(len(conditions)) if c != dropped], len(conditions))
            yield ops.kendall_tau(distance[kept], attributes[kept])[0]

    return _compare(conditions, taus(), full, tops, "leaving out conditions")


def jaccard(one: np.ndarray, other: np.ndarray, tops: list[int]) -> np.ndarray:
    """[A, k] float64: shared neurons over all neurons of two top-k sets, from their ``places`` [A, N]; every k ≤ N."""
    neurons = one.shape[1]
    sizes = [np.minimum(tops, (side < neurons).sum(axis=1, keepdims=True)) for side in (one, other)]
    later = np.sort(np.maximum(one, other), axis=1)
    shared = np.stack([np.searchsorted(row, tops) for row in later])
    union = sizes[0] + sizes[1] - shared
    return np.divide(shared, union, out=np.full(shared.shape, np.nan), where=union > 0)


def _compare(names: list[str], taus: Iterator[Tensor], full: np.ndarray, tops: list[int], what: str) -> Stability:
    rows = [jaccard(full, places(tau.T.numpy()), tops) for tau in track(taus, len(names), what)]
    return Stability(names, np.stack(rows))
