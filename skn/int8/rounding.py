"""Round a weight to eight bits so that the products of typical rows change least.

The columns are rounded one after the other. The error that a column makes in the products is compensated by the columns
that are not rounded yet, as far as the rows allow: GPTQ (Frantar et al., 2022, arXiv 2210.17323).
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128  # columns; the columns behind a block learn of its errors in one product
_DAMPING = 0.01  # of the mean diagonal


def round_weight(weight: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return multiples int8 [N, K], -127 to 127, and their scales float32 [N]; their product is near the weight.

    :param weight: [N, K] float32.
    :param rows: [R, K] float32, rows as the weight reads them.
    """
    scale = (weight.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    left = (weight / scale[:, None]).double()  # in whole multiples; what rounding has not reached yet
    ahead = _ahead(rows)
    number = torch.zeros_like(weight, dtype=torch.int8)
    for first in range(0, weight.shape[1], BLOCK):
        block = slice(first, min(first + BLOCK, weight.shape[1]))
        own, errors = ahead[block, block], torch.zeros_like(left[:, block])
        part = left[:, block]
        for i in range(own.shape[0]):
            rounded = part[:, i].round().clamp(-127, 127)
            number[:, first + i] = rounded.to(torch.int8)
            errors[:, i] = (part[:, i] - rounded) / own[i, i]
            part[:, i:] -= errors[:, i, None] * own[i, i:]
        left[:, block.stop :] -= errors @ ahead[block, block.stop :]
    return number, scale


def _ahead(rows: Tensor) -> Tensor:
    """[K, K] float64, upper triangular: how each column's error is spread over the columns behind it.

    It is the Cholesky factor of the inverse of rowsᵀ·rows.
    """
    together = (rows.T @ rows).double()
    together.diagonal().add_(_DAMPING * together.diagonal().mean() + torch.finfo(torch.float32).tiny)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(together))
    return torch.linalg.cholesky(inverse, upper=True)
