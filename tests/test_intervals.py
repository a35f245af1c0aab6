"""Where a share lies, and the mean of several shares: against closed formulas, and by how often they hold what they should."""

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from skn.intervals import balanced_interval, mean_interval, mean_share_interval, paired_interval, share_interval


def test_a_wilson_interval():
    """Against the closed formula, 45 of 50."""
    share, n, z = 0.9, 50, 1.959963984540054
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert share_interval(share, n) == pytest.approx((low, high))


def test_the_mean_of_one_share_is_the_share():
    assert balanced_interval([0.9], [50]) == pytest.approx(share_interval(0.9, 50))


def test_the_mean_of_two_shares_by_hand():
    """The squares of the distances to the ends add up, each with the weight of its share in the mean."""
    low, high = balanced_interval([0.9, 0.6], [50, 20])
    (a, b), (c, d) = share_interval(0.9, 50), share_interval(0.6, 20)
    below, above = np.hypot(0.9 - a, 0.6 - c) / 2, np.hypot(b - 0.9, d - 0.6) / 2
    assert (low, high) == pytest.approx((0.75 - below, 0.75 + above))


def test_where_all_or_none_are_right_it_has_a_width():
    low, high = balanced_interval([1.0, 1.0], [10, 10])
    assert high == 1.0 and share_interval(1.0, 10)[0] < low < 0.9
    assert balanced_interval([0.0, 0.0], [10, 10]) == pytest.approx((0.0, 1 - low))


@pytest.mark.parametrize("counts", [(10, 10), (8, 40)])
def test_it_holds_the_true_balanced_accuracy_in_95_of_100_cases(counts):
    """Over all outcomes of two classes, each with its probability: no sampling."""
    outcomes = [np.arange(n + 1) for n in counts]
    ends = np.array(
        [[balanced_interval([a / counts[0], b / counts[1]], counts) for b in outcomes[1]] for a in outcomes[0]]
    )
    covered = []
    for rates in [(0.5, 0.5), (0.7, 0.6), (0.9, 0.5), (0.8, 0.8), (0.95, 0.7), (0.95, 0.95)]:
        weight = np.outer(*(binom.pmf(k, n, p) for k, n, p in zip(outcomes, counts, rates, strict=True)))
        true = np.mean(rates)
        covered.append(weight[(ends[..., 0] <= true) & (true <= ends[..., 1])].sum())
    assert min(covered) > 0.92 and 0.94 < np.mean(covered) < 0.98


def test_the_interval_of_a_mean_of_shares_stays_among_shares():
    """Student's t of two draws is wide: without the bounds -0.50 to 1.26."""
    assert mean_share_interval([0.31, 0.45]) == (pytest.approx(0.38), 0.0, 1.0)
    assert mean_share_interval([0.5, 0.5, 0.51, 0.51]) == mean_interval([0.5, 0.5, 0.51, 0.51])
    assert mean_share_interval([0.5]) == (0.5, None, None)


@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.4, 0.02), (0.2, 0.1), (0.9, 0.0)])
def test_the_interval_of_paired_differences_holds_in_95_of_100_cases(rates):
    """Over all outcomes of 20 examples: right only under the one, only under the other, or alike."""
    n, (plus, minus), covered = 20, rates, 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            low, high = paired_interval([1.0] * a + [-1.0] * b + [0.0] * (n - a - b))
            weight = multinomial.pmf([a, b, n - a - b], n, [plus, minus, 1 - plus - minus])
            covered += weight * (low <= plus - minus <= high)
    assert 0.93 < covered


def test_paired_differences_that_are_all_alike_have_a_width():
    low, high = paired_interval([1.0] * 30)
    assert 0.8 < low < 0.95 and high == 1.0
