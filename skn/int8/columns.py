"""Choose how a weight of eight bits reads the columns of its rows: a shift and a factor for each column.

A row x is rounded to 256 steps between its least and its greatest number, so one wide column makes the steps of all
columns coarse. The weight therefore reads ``(x - shift) * factor``, as SmoothQuant divides columns (Xiao et al., 2022,
arXiv 2211.10438), and multiplies its own columns by ``1 / factor``. What is taken from the rows goes to the weight,
which is rounded, too. Then both are mixed by an orthogonal matrix (:func:`skn.model.portable.layers_skn.mixed`), as QuaRot
does (Ashkboos et al., 2024, arXiv 2404.00456).

Mixed numbers are spread almost like a normal distribution. So the step of a row grows with the row's norm, and the scale
of a weight with the norm of its row. The error of the product is then least where each column has the same share of
both norms: SmoothQuant's rule for root mean squares in the place of greatest numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-5


def choose_columns(rows: Tensor, weight: Tensor) -> Tensor:
    """Return shift and factor [2, K] for products of these rows.

    :param rows: [R, K] float32, rows that the weight reads.
    :param weight: [N, K] float32. Several weights that read the same rows may stand one below the other.
    """
    shift = rows.mean(dim=0)
    of_rows, of_weight = ((t.square().mean(dim=0).sqrt()).clamp(min=_TINY) for t in (rows - shift, weight))
    factor = (of_weight / of_rows).sqrt()
    return torch.stack([shift, factor / factor.log().mean().exp()])
