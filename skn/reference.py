"""What every operator means, in plain PyTorch: the oracle of the tests and the baseline of the benchmarks.

Nothing of skn is imported here, so that the oracle cannot lean on what it judges. Shapes and dtypes are
checked by ``skn.ops``; the functions below check values, and do so before they change any state. Statistics
carry no gradient: without ``no_grad``, activations that require one would make the state part of a graph.
"""

import math

import torch
from torch import Tensor


def _check_labels(op: str, labels: Tensor, classes: int) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        example = int(wrong.nonzero()[0])
        raise RuntimeError(f"{op}: labels must lie in [0, {classes}), got {int(labels[example])} at example {example}")


@torch.no_grad()
def accumulate_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    """Per class: the number of examples, the sum of their activations and that of the squares, in float64."""
    _check_labels("accumulate_moments", labels, count.shape[0])
    value = act.to(torch.float64)
    count.index_add_(0, labels, torch.ones_like(labels))
    total.index_add_(0, labels, value)
    total_sq.index_add_(0, labels, value * value)


@torch.no_grad()
def accumulate_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    """Per class: how many examples have an activation above the threshold, compared in float64."""
    _check_labels("accumulate_hits", labels, hits.shape[0])
    exceeds = act.to(torch.float64) > threshold
    hits.index_add_(0, labels, exceeds.to(torch.int64))


@torch.no_grad()
def pool_tokens(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> Tensor:
    """Mean or maximum over ``act[b, offset[b] : offset[b] + lengths[b]]``; zero where there is no token."""
    tokens = act.shape[1]
    # `lengths > tokens - offset`, because `offset + lengths` could overflow.
    wrong = (offset < 0) | (offset > tokens) | (lengths < 0) | (lengths > tokens - offset)
    if wrong.any():
        b = int(wrong.nonzero()[0])
        raise RuntimeError(
            f"pool_tokens: example {b} covers {int(lengths[b])} tokens from {int(offset[b])} on, outside of {tokens}"
        )
    position = torch.arange(tokens, device=act.device)
    own = (position >= offset[:, None]) & (position < (offset + lengths)[:, None])
    empty = (lengths == 0)[:, None]
    dtype = torch.float64 if act.dtype == torch.float64 else torch.float32
    # `where` and not a product with the mask: a NaN or an infinity outside of the span must not leak in.
    if tokens == 0:
        pooled = act.new_zeros((act.shape[0], act.shape[2]), dtype=dtype)
    elif reduce == "mean":
        total = torch.where(own[:, :, None], act.to(torch.float64), 0.0).sum(dim=1)
        pooled = total / lengths.clamp(min=1)[:, None]
    else:
        pooled = torch.where(own[:, :, None], act.to(dtype), -torch.inf).amax(dim=1)
    return pooled.masked_fill(empty, 0.0).to(dtype)


@torch.no_grad()
def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tau-b of every column of x with every column of y, by comparing every pair of rows."""
    n = x.shape[0]
    x, y = x.to(torch.float64), y.to(torch.float64)
    nan_x, nan_y = x.isnan().any(dim=0), y.isnan().any(dim=0)
    ties_x, ties_y = _tie_sums(x).masked_fill_(nan_x[:, None], 0), _tie_sums(y).masked_fill_(nan_y[:, None], 0)
    concordance = _concordance(x, y).masked_fill_(nan_x[:, None] | nan_y, 0)

    def root(ties: Tensor, nan: Tensor) -> Tensor:
        # Not torch.sqrt, which differs from the correctly rounded root in the last bit now and then.
        untied = (n * (n - 1) // 2 - ties[:, 0]).tolist()
        root = torch.tensor([math.sqrt(pairs) or math.nan for pairs in untied], dtype=torch.float64, device=x.device)
        return root.masked_fill_(nan, torch.nan)

    tau = concordance.to(torch.float64) / root(ties_x, nan_x)[:, None] / root(ties_y, nan_y)
    return tau.clamp(-1.0, 1.0), concordance, ties_x, ties_y


_PAIRS = 2**22  # comparisons held in memory at once


def _concordance(x: Tensor, y: Tensor) -> Tensor:
    """Sum over pairs of rows of the product of the signs; sums of ±1 are exact in float64."""
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
    return (total / 2).to(torch.int64)  # every pair was met twice


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
    # Each of the t rows of a group carries its share, the term divided by t.
    shares = (t - 1, (t - 1) * (t - 2), (t - 1) * (2 * t + 5))
    sums = torch.stack([share.sum(0) for share in shares], 1)
    sums[:, 0] //= 2
    return sums
