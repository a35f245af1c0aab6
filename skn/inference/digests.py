"""Digests of the bits of a model's weights: equal digests mean equal weights.

A version counter misses edits through ``.data``. A sample of the elements misses the edit of one neuron. So skn reads
every bit, at the speed of memory.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from skn import ops

_COLUMNS = 4096  # columns of the matrix into which a device arranges all weights


@torch.no_grad()
def digests(tensors: list[Tensor]) -> tuple:
    """Return a value that is equal for equal bits, dtypes, shapes and devices of dense tensors on one device."""
    if tensors[0].is_cpu:
        bits = tuple(ops.digest(tensors).tolist())
    else:
        bits = _on_device(tensors)
    return tensors[0].device, bits, tuple((tensor.dtype, tensor.shape) for tensor in tensors)


def _on_device(tensors: list[Tensor]) -> int:
    """Sum all 32-bit parts, each times two odd random numbers, for its column and its row. Waits for the device."""
    memory = torch.cat([tensor.contiguous().view(torch.uint8).flatten() for tensor in tensors])
    rows = -(-memory.numel() // (4 * _COLUMNS))
    padded = torch.nn.functional.pad(memory, (0, rows * 4 * _COLUMNS - memory.numel()))
    by_row = (padded.view(torch.int32).view(rows, _COLUMNS) * _odd(_COLUMNS, "columns", memory.device)).sum(dim=1)
    return int((by_row * _odd(rows, "rows", memory.device)).sum())


@cache
def _odd(count: int, axis: str, device: torch.device) -> Tensor:
    """Return odd random numbers [count] int64. Their products wrap around.

    With 32 bits, a product would keep nothing of the number but its sign for the sign of a float32 weight, so that two
    changed signs would cancel each other half of the time. Rows and columns have different numbers, because two weights
    that change places across a diagonal would otherwise cancel each other.
    """
    generator = torch.Generator().manual_seed(2 * count + (axis == "rows"))
    return (torch.randint(-(2**62), 2**62, (count,), generator=generator) * 2 + 1).to(device)
