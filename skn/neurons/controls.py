"""Random sets to compare a chosen set with: they match the chosen set in number, are drawn many times, and give an
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.intervals import mean_share_interval
from skn.neurons.matching import as_set, handed_over
from skn.neurons.selection import random_factors, random_like

# A random set [L, F] bool, and its factors [L, F] float32 for a mask of kind "scale".
Drawn = tuple[Tensor, Tensor | None]


def control_sets(
    chosen: Tensor,
    candidates: Tensor,
    match: str,
    keys: Callable[[int], torch.Generator],
    draws: int,
    factors: bool = False,
) -> Iterator[Drawn]:
    """Draw random sets [L, F] bool with as many of the ``candidates`` as are ``chosen``, each set with its factors.

    For an empty chosen set, nothing is drawn.

    :param match: "layer" draws as many neurons in each layer, "overall" draws as many neurons in all.
    :param keys: returns the generator of a draw by the draw's number, so a draw does not depend on earlier draws.
    :param factors: give each neuron a factor of its own, as [L, F] float32, for a mask of kind "scale".
    """
    for draw in range(draws if chosen.any() else 0):
        key = keys(draw)
        drawn = random_like(chosen, candidates, key, match)
        yield drawn, random_factors(drawn, key) if factors else None


def matched_sets(partners: Sequence[Tensor], factor: Tensor | None) -> Iterator[Drawn]:
    """Return the sets of draws that were matched one to one. A control has the factor of the neuron that it stands for.

    Without any partner, there is no set.
    """
    for partner in partners:
        if (partner >= 0).any():
            yield as_set(partner), None if factor is None else handed_over(factor, partner)


def summary(draws: Sequence[float | None]) -> dict[str, Any] | None:
    """Return the mean of the draws with its 95% confidence interval, and the range of the central 95% of the draws.

    ``mean_low`` to ``mean_high`` (Student's t; None for a single draw) is the interval of the mean over random sets.
    ``low`` to ``high`` is the range of single random sets. Where the measure is undefined, the summary is None.
    """
    if None in draws:
        return None
    mean, mean_low, mean_high = mean_share_interval(draws)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "mean": mean,
        "mean_low": mean_low,
        "mean_high": mean_high,
        "low": float(low),
        "high": float(high),
        "draws": list(draws),
    }
