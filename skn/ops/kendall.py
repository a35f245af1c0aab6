"""Rank correlation: ``kendall_tau``. The block has the order of :mod:`skn.ops`."""

import torch
from torch import Tensor

from skn.ops import reference_kendall
from skn.ops.checks import behind_memory, check_floating, define, describe, library

_MOST_ROWS = 2**20  # with more rows, the tie sums of a constant column, about 2 n³, would not fit int64


@behind_memory("kendall_tau")
def _check_kendall(x: Tensor, y: Tensor) -> None:
    op = "kendall_tau"
    for name, tensor, axes in (("x", x, "[n, p]"), ("y", y, "[n, q]")):
        check_floating(op, name, tensor, axes, 2)
    n = x.shape[0]
    torch._check(y.shape[0] == n, lambda: f"{op}: y must have the rows of x, {n}, got {describe(y)}")
    torch._check(y.device == x.device, lambda: f"{op}: y must be on the device of x")
    torch._check(n >= 2 and n <= _MOST_ROWS, lambda: f"{op}: n must lie in [2, {_MOST_ROWS}], got {n}")


define("kendall_tau(Tensor x, Tensor y) -> (Tensor tau, Tensor concordance, Tensor ties_x, Tensor ties_y)")


@torch.library.register_fake("skn::kendall_tau", lib=library)
def _(x, y):
    _check_kendall(x, y)
    p, q = x.shape[1], y.shape[1]
    tau = x.new_empty((p, q), dtype=torch.float64)
    return tau, *(x.new_empty(shape, dtype=torch.int64) for shape in ((p, q), (p, 3), (q, 3)))


@torch.library.impl(library, "kendall_tau", "CompositeExplicitAutograd")
def _default_kendall_tau(x, y):
    _check_kendall(x, y)
    return reference_kendall.kendall_tau(x, y)


def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kendall's tau-b of every column of ``x`` with every column of ``y``, ties exact.

    Of the ``n (n - 1) / 2`` pairs of rows, with concordance S = concordant - discordant pairs and n1, n2 the pairs
    tied in the one and the other column (Kendall, "The treatment of ties in ranking problems", Biometrika 1945)::

        tau = S / sqrt(n (n - 1) / 2 - n1) / sqrt(n (n - 1) / 2 - n2), clipped to [-1, 1]

    in this order of operations, which is that of ``scipy.stats.kendalltau``. -0 equals 0 and infinities are
    ordinary values. Tau is NaN where a column is constant or holds a NaN; a column with a NaN counts as having
    neither concordance nor ties.

    Args:
        x: float32, bfloat16, float16 or float64 ``[n, p]``, any strides, expanded included; 2 ≤ n ≤ 1,048,576.
        y: likewise ``[n, q]``, not necessarily of the same dtype.

    Returns:
        tau, float64 ``[p, q]``; concordance S, int64 ``[p, q]``; and for the columns of x and of y, int64 ``[p, 3]``
        and ``[q, 3]``, the sums over groups of t equal values of t(t-1)/2, t(t-1)(t-2) and t(t-1)(2t+5), from which
        the variance of S follows.

    Raises:
        RuntimeError: a shape, dtype or device does not fit.
    """
    return torch.ops.skn.kendall_tau(x, y)


# A device's kernels first run these checks.
CHECKS = {"kendall_tau": _check_kendall}
