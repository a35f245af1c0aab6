"""Intervals of the mean of a few values, of a share of many examples, of the mean of several shares, and of the
difference of two shares of the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, norm, sem
from scipy.stats import t as t_distribution


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean and the ends of its 95% confidence interval (Student's t). A single value has no interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None, None
    half = float(t_distribution.ppf(0.975, len(values) - 1) * sem(values))
    return mean, mean - half, mean + half


def mean_share_interval(shares: Sequence[float]) -> tuple[float, float | None, float | None]:
    """As :func:`mean_interval` of shares; no mean of shares lies outside 0 to 1, so the interval ends there."""
    mean, low, high = mean_interval(shares)
    return mean, None if low is None else max(0.0, low), None if high is None else min(1.0, high)


def share_interval(share: float, examples: int) -> tuple[float, float]:
    """The 95% interval of a share of ``examples`` examples, such as an accuracy (Wilson, 1927)."""
    interval = binomtest(round(share * examples), examples).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean of differences between −1 and 1, one for each example, such as between two accuracies
    on the same examples.

    One difference of −1 and one of 1 are added before the normal interval (Bonett and Price, 2012). So the interval has
    a width even if all examples differ alike.
    """
    values = np.array([*differences, -1.0, 1.0])
    mean, half = float(values.mean()), float(norm.ppf(0.975) * values.std() / np.sqrt(len(values)))
    return max(-1.0, mean - half), min(1.0, mean + half)


def none_better(share: float, guess: float) -> str:
    """Compare a share with guessing in words, if its 95% interval does not lie above guessing. The share itself may."""
    return "no better than" if share <= guess else "not clearly better than"


def balanced_interval(shares: Sequence[float], examples: Sequence[int]) -> tuple[float, float]:
    """The 95% interval of a mean of shares, each of its own examples, such as a balanced accuracy.

    The distances to the ends of the shares' own intervals add up as standard errors do (Zou, Huang and Zhang, 2009). So
    the interval has a width even if all examples are right, and leans away from 0 and 1 as :func:`share_interval` does.
    """
    ends = np.array([share_interval(*pair) for pair in zip(shares, examples, strict=True)])
    mean, (below, above) = float(np.mean(shares)), np.linalg.norm(ends.T - np.array(shares), axis=1) / len(ends)
    return max(0.0, mean - float(below)), min(1.0, mean + float(above))
