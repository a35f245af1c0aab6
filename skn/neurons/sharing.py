"""Whether two rankings order the neurons alike, and whether their best neurons are the same ones, beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from skn.neurons.chance import shared_by_chance
from skn.neurons.probed import Probe
from skn.neurons.ranking import rank
from skn.neurons.selection import best_neurons, keep_count
from skn.neurons.side_by_side import ONE_RUN
from skn.seeds import generator


def spearman_by_layer(first: Tensor, second: Tensor) -> list[float | None]:
    """Spearman's rank correlation of two scores [L, F] over the neurons of each layer.

    Neurons with a NaN in one of the scores are left out. A layer has None if one of its scores is the same for all
    neurons.
    """
    return [_spearman(*layer) for layer in zip(first.numpy(), second.numpy(), strict=True)]


def _spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    known = ~(np.isnan(first) | np.isnan(second))
    pair = first[known], second[known]
    if known.sum() < 2 or any(np.ptp(values) == 0 for values in pair):
        return None
    return float(spearmanr(*pair).statistic)


def top_set(probes: Sequence[Probe], fraction: float, overall: bool, **how: Any) -> Tensor:
    """[L, F] bool: the best share of each layer or, if ``overall``, the same share of all neurons, by score over all layers.

    ``probes`` are seeds of one task, ``how`` the options of :func:`skn.neurons.ranking.rank`. Neurons of one score come
    in a random order of this task's own. A ranking gives them by their index, and then two tasks would share neurons
    because both take the first of many equal ones.
    """
    said = [str(probe.provenance.get(name)) for probe in probes for name in ONE_RUN]
    order = torch.randperm(probes[0].present.shape[1], generator=generator(0, "order of equal neurons", *said))
    ranking = rank([_reordered(probe, order) for probe in probes], **how)
    chosen = ranking.cut(fraction)
    if overall:
        chosen = torch.zeros_like(chosen)
        for neuron in best_neurons(ranking.score, keep_count(fraction, int((ranking.rank >= 0).sum()))):
            chosen[neuron] = True
    return chosen[:, order.argsort()]


def _reordered(probe: Probe, order: Tensor) -> Probe:
    """Return a probe whose neuron i is neuron ``order[i]`` of the given one."""
    hits = {}
    for key, found in probe.hits.items():
        areas = found.areas and replace(found.areas, area=found.areas.area[..., order], nan=found.areas.nan[..., order])
        columns = {"hits": found.hits[..., order], "threshold": found.threshold[..., order], "areas": areas}
        hits[key] = replace(found, **columns)
    return replace(probe, moments={}, hits=hits, present=probe.present[:, order], path=None, bits={}, significance={})


@dataclass(frozen=True)
class Overlap:
    """The neurons that two sets share. ``low`` to ``high`` holds the number by chance in 95 of 100 cases, ``p`` is the
    probability of as many or more by chance.
    """

    shared: int
    sizes: tuple[int, int]
    expected: float
    low: int
    high: int
    p: float


def overlap(first: Tensor, second: Tensor, present: Tensor) -> Overlap:
    """Count the neurons [L, F] bool in both sets, beside what two sets share by chance that have as many neurons of each
    layer as these two.
    """
    layers = list(zip(*(part.sum(dim=1).tolist() for part in (present, first, second)), strict=True))
    shared = int((first & second).sum())
    chance = shared_by_chance(layers)
    below = chance.cumsum()
    return Overlap(
        shared,
        (int(first.sum()), int(second.sum())),
        expected=float(sum(a * b / neurons for neurons, a, b in layers if neurons)),
        low=int(np.searchsorted(below, 0.025)),
        high=int(np.searchsorted(below, 0.975)),
        p=min(1.0, float(chance[shared:].sum())),
    )
