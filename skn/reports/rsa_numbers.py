"""The numbers in the figures of a searchlight, in long form: a row for each drawn square, point or neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skn.reports.numbers import Numbers
from skn.reports.sweep_data import Dropped


def of_counts(counts: Mapping[str, np.ndarray], attributes: Sequence[str], alpha: float) -> Numbers:
    """A row for each measure, attribute and layer: the number of significant neurons. ``counts`` is [attribute, L]."""
    rows = [
        [measure, alpha, attribute, layer, count]
        for measure, found in counts.items()
        for attribute, by_layer in zip(attributes, found.tolist(), strict=True)
        for layer, count in enumerate(by_layer)
    ]
    return Numbers(["measure", "alpha", "attribute", "layer", "significant_neurons"], rows)


def of_top_map(placed: np.ndarray, columns: np.ndarray, width: int, attributes: Sequence[str]) -> Numbers:
    """A row for each neuron in an attribute's top k: its column in the figure, its place, its rank for the attribute.

    ``placed`` [attribute, neuron] is the rank from 0, −1 outside the set. ``columns`` are the drawn neurons, of layers
    ``width`` neurons wide.
    """
    rows = []
    for column, (neuron, ranks) in enumerate(zip(columns.tolist(), placed[:, columns].T.tolist(), strict=True)):
        rows += [
            [column, *divmod(neuron, width), attribute, rank + 1]
            for attribute, rank in zip(attributes, ranks, strict=True)
            if rank >= 0
        ]
    return Numbers(["column", "layer", "neuron", "attribute", "rank"], rows)


def of_overlap(counts: np.ndarray, chance: np.ndarray, ratio: np.ndarray, k: int, attributes: Sequence[str]) -> Numbers:
    """A row for each pair of attributes, square by square of the drawn triangles. All inputs are [A, A]."""
    rows = [
        [attributes[i], attributes[j], k, counts[i, j].item(), (counts[i, j] / k).item(), chance[i, j].item(), ratio[i, j].item()]
        for i, j in zip(*np.tril_indices(len(attributes), -1), strict=True)
    ]  # fmt: skip
    return Numbers(["attribute", "with", "top", "shared", "share", "shared_by_chance", "times_chance"], rows)


def of_stability(stability: Mapping[str, Dropped], attributes: Sequence[str]) -> Numbers:
    """A row for each kind of left-out thing, attribute and k."""
    rows = []
    for what, dropped in stability.items():
        tops = sorted(dropped.jaccard)
        found = np.array([dropped.summary(k) for k in tops]).tolist()  # [top, mean and lowest, attribute]
        rows += [
            [what.removesuffix("s"), attribute, top, mean[a], lowest[a]]
            for a, attribute in enumerate(attributes)
            for top, (mean, lowest) in zip(tops, found, strict=True)
        ]
    return Numbers(["left_out", "attribute", "top", "mean_jaccard", "lowest_jaccard"], rows)
