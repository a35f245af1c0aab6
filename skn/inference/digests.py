"""What the bits of a model's weights are, in a few numbers: two equal answers mean equal weights.

A version counter does not see edits through ``.data``, a sample of the elements does not see the edit of one neuron. So
every bit is read, at the speed of memory.
"""

from __future__ import annotations

from functools import cache

import torch
import xxhash
from torch import Tensor

_COLUMNS = 4096  # of the matrix that a device forms of all weights


@torch.no_grad()
def digests(tensors: list[Tensor]) -> tuple:
    """A value that is equal for equal bits, dtypes, shapes and devices of dense tensors that lie on one device."""
    if tensors[0].is_cpu:
        bits = tuple(xxhash.xxh3_64_intdigest(_memory(tensor)) for tensor in tensors)
    else:
        bits = _on_device(tensors)
    return tensors[0].device, bits, tuple((tensor.dtype, tensor.shape) for tensor in tensors)


def _memory(tensor: Tensor) -> memoryview:
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    return tensor.view(torch.int16).numpy().data if tensor.dtype is torch.bfloat16 else tensor.numpy().data


def _on_device(tensors: list[Tensor]) -> int:
    """A sum of all 32-bit parts, each times two odd random numbers: its column's and its row's. The device is waited for."""
    memory = torch.cat([tensor.contiguous().view(torch.uint8).flatten() for tensor in tensors])
    rows = -(-memory.numel() // (4 * _COLUMNS))
    padded = torch.nn.functional.pad(memory, (0, rows * 4 * _COLUMNS - memory.numel()))
    by_row = (padded.view(torch.int32).view(rows, _COLUMNS) * _odd(_COLUMNS, memory.device)).sum(dim=1)
    return int((by_row * _odd(rows, memory.device)).sum())


@cache
def _odd(count: int, device: torch.device) -> Tensor:
    """Odd random numbers [count] int32; products of them wrap around."""
    generator = torch.Generator().manual_seed(count)
    return (torch.randint(-(2**30), 2**30, (count,), generator=generator, dtype=torch.int32) * 2 + 1).to(device)
