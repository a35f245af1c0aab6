"""Choose how a weight of eight bits reads the columns of its rows: a shift and a factor for each column.

A row x is rounded to 256 steps between its least and its greatest number, so one wide column makes the steps of all
columns coarse. The weight therefore reads ``(x - shift) * factor``, as SmoothQuant divides columns (Xiao et al., 2022,
arXiv 2211.10438), and multiplies its own columns by ``1 / factor``. What is taken from the rows goes to the weight,
which is rounded, too. SmoothQuant's half-way rule is the start here. From there, a gradient descent lowers the expected
error of the product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STEPS, RATE, ROWS = 150, 0.05, 1024
# The share of the weight's rounding error that is left after :mod:`skn.int8.rounding` has compensated it.
LEFT_OF_WEIGHTS = 0.1
_TINY = 1e-5
_NOTHING = torch.finfo(torch.float32).tiny  # constant rows have no error, and nothing to learn from


def choose_columns(rows: Tensor, weight: Tensor, width: int) -> Tensor:
    """Return shift and factor [2, K] for products of these rows.

    :param rows: [R, K] float32, rows that the weight reads.
    :param weight: [N, K] float32. Several weights that read the same rows may stand one below the other.
    :param width: the number of columns that are rounded together.
    """
    mean, spread = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp(min=_TINY)
    start = _half_way(rows - mean, weight)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        rows, weight, mean, spread = (t.detach().clone() for t in (rows, weight, mean, spread))
        log_size, moved = start.log().requires_grad_(), torch.zeros_like(mean).requires_grad_()
        optimizer = torch.optim.Adam([log_size, moved], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        weights = _Weights(weight.abs(), weight.square().sum(dim=0))
        for _ in range(STEPS):
            some = rows[torch.randint(len(rows), (ROWS,), generator=generator)]
            size = log_size.exp()
            read = (some - (mean + moved * spread)) / size
            loss = _error(read, weights, size, width).clamp(min=_NOTHING).log()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return torch.stack([mean + moved.detach() * spread, (-log_size.detach()).exp()])


def _half_way(centred: Tensor, weight: Tensor) -> Tensor:
    """SmoothQuant's sizes [K] of the columns, with the exponent 1/2."""
    of_rows, of_weight = (t.abs().amax(dim=0).clamp(min=_TINY) for t in (centred, weight))
    size = (of_rows / of_weight).sqrt()
    return size / size.log().mean().exp()


class _Weights(NamedTuple):
    """What the error needs of a weight [N, K], so that no step of the descent needs the weight's own gradient."""

    absolute: Tensor  # [N, K]
    squares: Tensor  # [K]: the sum of each column's squares

    def widest(self, size: Tensor) -> Tensor:
        """The greatest absolute number [N] of each row whose columns are multiplied by ``size`` [K]."""
        with torch.no_grad():
            at = (self.absolute * size).argmax(dim=1)
        return self.absolute.gather(1, at[:, None])[:, 0] * size[at]


def _error(read: Tensor, weights: _Weights, size: Tensor, width: int) -> Tensor:
    """The expected square of a product's error, up to a factor: rounded rows, and what is left of rounded weights."""
    of_rows = read.new_zeros(())
    squares = weights.squares * size.square()
    for part, own in zip(read.split(width, dim=1), squares.split(width), strict=True):
        step = (part.amax(dim=1) - part.amin(dim=1)) / 255
        of_rows = of_rows + step.square().mean() * own.sum()
    of_weight = (weights.widest(size) / 127).square().sum() * read.square().sum(dim=1).mean()
    return of_rows + LEFT_OF_WEIGHTS * of_weight
