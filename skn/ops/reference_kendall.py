"""The meaning of ``kendall_tau``, as :mod:`skn.ops.reference` has that of the other operators. It imports nothing of skn."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tau-b of every column of x with every column of y, by comparing every pair of rows."""
    n = x.shape[0]
    x, y = x.to(torch.float64), y.to(torch.float64)
    nan_x, nan_y = x.isnan().any(dim=0), y.isnan().any(dim=0)
    ties_x, ties_y = _tie_sums(x).masked_fill_(nan_x[:, None], 0), _tie_sums(y).masked_fill_(nan_y[:, None], 0)
    concordance = _concordance(x, y).masked_fill_(nan_x[:, None] | nan_y, 0)

    def root(ties: Tensor, nan: Tensor) -> Tensor:
        # torch.sqrt is not used: it sometimes differs from the correctly rounded root in the last bit.
        untied = (n * (n - 1) // 2 - ties[:, 0]).tolist()
        root = torch.tensor([math.sqrt(pairs) or math.nan for pairs in untied], dtype=torch.float64, device=x.device)
        return root.masked_fill_(nan, torch.nan)

    tau = concordance.to(torch.float64) / root(ties_x, nan_x)[:, None] / root(ties_y, nan_y)
    return tau.clamp(-1.0, 1.0), concordance, ties_x, ties_y


_PAIRS = 2**22  # comparisons held in memory at once


def _concordance(x: Tensor, y: Tensor) -> Tensor:
    """Sum over pairs of rows the product of the signs. Sums of ±1 are exact in float64."""
    n, p, q = x.shape[0], x.shape[1], y.shape[1]
    total = x.new_zeros((p, q))
    width = max(1, _PAIRS // n)
    rows = max(1, _PAIRS // (n * max(1, min(width, max(p, q)))))
    for i in range(0, n, rows):
        for b in range(0, q, width):
            signs_y = _signs(y[i : i + rows, None, b : b + width], y[:, b : b + width])
            for a in range(0, p, width):
                signs_x = _signs(x[i : i + rows, None, a : a + width], x[:, a : a + width])
                total[a : a + width, b : b + width] += signs_x.T @ signs_y
    return (total / 2).to(torch.int64)  # every pair was counted twice


def _signs(one: Tensor, other: Tensor) -> Tensor:
    return ((one > other).to(torch.float64) - (one < other).to(torch.float64)).flatten(0, 1)


def _tie_sums(x: Tensor) -> Tensor:
    """Per column Σ t(t-1)/2, Σ t(t-1)(t-2) and Σ t(t-1)(2t+5) over groups of t equal values."""
    n, p = x.shape
    t = torch.empty((n, p), dtype=torch.int64, device=x.device)
    width = max(1, _PAIRS // n)
    rows = max(1, _PAIRS // (n * max(1, min(width, p))))
    for i in range(0, n, rows):
        for a in range(0, p, width):
            t[i : i + rows, a : a + width] = (x[i : i + rows, None, a : a + width] == x[:, a : a + width]).sum(1)
    # Each of the t rows of a group contributes its share, which is the term divided by t.
    shares = (t - 1, (t - 1) * (t - 2), (t - 1) * (2 * t + 5))
    sums = torch.stack([share.sum(0) for share in shares], 1)
    sums[:, 0] //= 2
    return sums
