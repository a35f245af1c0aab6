"""Random sets that a chosen set is compared with: matched in number, drawn many times, with interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.intervals import mean_share_interval
from skn.neurons.selection import random_factors, random_like


def control_sets(
    chosen: Tensor,
    candidates: Tensor,
    match: str,
    keys: Callable[[int], torch.Generator],
    draws: int,
    factors: bool = False,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Random sets [L, F] bool of as many of the ``candidates`` as are ``chosen``, each with its factors.

    An empty set has nothing to control for: no draw is made.

    :param match: "layer" for as many in each layer, "overall" for as many in all.
    :param keys: the generator of a draw, by its number: a draw is then the same whatever was drawn before.
    :param factors: each neuron has a factor [L, F] float32 of its own, for a mask of kind "scale".
    """
    for draw in range(draws if chosen.any() else 0):
        key = keys(draw)
        drawn = random_like(chosen, candidates, key, match)
        yield drawn, random_factors(drawn, key) if factors else None


def summary(draws: Sequence[float | None]) -> dict[str, Any] | None:
    """The mean with its 95% confidence interval and the central 95% of the draws; nothing where the measure is undefined.

    ``mean_low`` to ``mean_high`` (Student's t; None for a single draw) says where the average random set lies,
    ``low`` to ``high`` where a single one does.
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
