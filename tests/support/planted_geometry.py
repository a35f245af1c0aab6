"""Activations in which some neurons carry the geometry of an attribute, and the others a geometry of their own.

A neuron's values over the conditions are drawn once and shared by all seeds, as a real neuron's values are. Each seed
adds noise. Under the null hypothesis the conditions are exchangeable, but their pairs are not independent: every
distance of an unusual condition is large. This separates the Mantel test from the parametric test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    """``activations`` [seed, condition, N] float32, ``distance`` [pairs, 1] float64 of one attribute, ``carries`` [N] bool."""

    activations: Tensor
    distance: Tensor
    carries: np.ndarray


def planted(
    seed: int, neurons: int, carriers: int, conditions: int = 27, seeds: int = 4, noise: float = 0.6
) -> Planted:
    """Plant ``carriers`` neurons first.

    They follow the attribute's ratings, up or down, with ``noise`` of their own.
    """
    rng = np.random.default_rng(seed)
    rating = rng.normal(size=(conditions, 1))
    own = rng.normal(size=(conditions, neurons))
    sign = rng.choice([-1.0, 1.0], size=carriers)
    own[:, :carriers] = sign * (rating + noise * own[:, :carriers])
    values = own + 0.3 * rng.normal(size=(seeds, conditions, neurons))
    first, second = np.triu_indices(conditions, 1)
    return Planted(
        torch.from_numpy(values.astype(np.float32)),
        torch.from_numpy(np.abs(rating[first] - rating[second])),
        np.arange(neurons) < carriers,
    )


def power_and_false_share(q: np.ndarray, carries: np.ndarray) -> tuple[float, float]:
    """Return two shares from q [N]: of the carriers, those found at 0.05; of the found neurons, those that carry
    nothing.
    """
    found = q <= 0.05
    return float(found[carries].mean()), float((found & ~carries).sum() / max(1, found.sum()))
