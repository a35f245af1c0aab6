"""What two random sets of neurons share that have as many neurons of each layer as two given ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import hypergeom

# How many neurons a layer has, and how many of them are in the first and in the second set.
Sizes = tuple[int, int, int]


def shared_by_chance(layers: Sequence[Sizes]) -> np.ndarray:
    """The probability of each number of shared neurons: one hypergeometric number a layer, and their sum."""
    total = np.ones(1)
    for neurons, first, second in layers:
        total = np.convolve(total, hypergeom.pmf(np.arange(min(first, second) + 1), neurons, first, second))
    return total


def jaccard_by_chance(layers: Sequence[Sizes]) -> float:
    """The expected Jaccard index: shared neurons over all neurons of the two sets. One set must have a neuron."""
    probability = shared_by_chance(layers)
    shared = np.arange(len(probability))
    union = sum(first + second for _, first, second in layers) - shared
    return float((probability * shared / union).sum())
