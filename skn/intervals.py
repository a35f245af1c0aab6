"""The mean of a few values and where it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import sem
from scipy.stats import t as t_distribution


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean with the ends of its 95% confidence interval (Student's t), which a single value does not have."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None, None
    half = float(t_distribution.ppf(0.975, len(values) - 1) * sem(values))
    return mean, mean - half, mean + half
