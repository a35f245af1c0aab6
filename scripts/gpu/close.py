"""The test for a result that is right by comparison with float64, and random layers to compare on."""

from __future__ import annotations

import torch
from torch import Tensor


def no_worse_than_plain(found: Tensor, plain: Tensor, exact: Tensor, what: object) -> None:
    """Assert: no further from float64 than PyTorch in the same dtype, with some room for another order of additions."""
    error, of_plain = (((t.double() - exact).norm() / exact.norm()).item() for t in (found, plain))
    assert torch.isfinite(found).all() and error <= 1.5 * of_plain + 1e-6, f"{what}: {error:.3g}, plain {of_plain:.3g}"


def linear(rows: int, columns: int) -> list[Tensor]:
    return [torch.randn(rows, columns) / columns**0.5, 0.1 * torch.randn(rows)]


def norm(width: int) -> list[Tensor]:
    return [1 + 0.1 * torch.randn(width), 0.1 * torch.randn(width)]
