"""The mean of a few values and where it lies; a share of many examples and where it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, sem
from scipy.stats import t as t_distribution


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean with the ends of its 95% confidence interval (Student's t), which a single value does not have."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None, None
    half = float(t_distribution.ppf(0.975, len(values) - 1) * sem(values))
    return mean, mean - half, mean + half


def share_interval(share: float, examples: int) -> tuple[float, float]:
    """The 95% interval of a share of so many examples, such as an accuracy (Wilson, 1927)."""
    interval = binomtest(round(share * examples), examples).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
