"""The meaning of ``digest``, as :mod:`skn.ops.reference` has that of the other operators. It imports nothing of skn."""

import torch
import torch.nn.functional as F
from torch import Tensor

# kDigestRow, kDigestBlock and kDigestFactor of csrc/cpu/digest.h
ROW = 32
BLOCK_ROWS = 1024
FACTOR = 0x9E3779B1


@torch.no_grad()
def digest(tensors: list[Tensor]) -> Tensor:
    """One number for the bytes of each tensor, int64 [number of tensors].

    The bytes are words of 64 bits in rows of 32, padded with zeros, and the rows are in blocks. In a block, each column
    has a digest of its own. The digests of the columns are joined in their order, and so are the digests of the blocks,
    beginning with the number of bytes.
    """
    return torch.stack([_of_one(tensor) for tensor in tensors])


def _of_one(tensor: Tensor) -> Tensor:
    memory = tensor.contiguous().flatten().view(torch.uint8)
    rows = F.pad(memory, (0, -len(memory) % (8 * ROW))).view(torch.int64).view(-1, ROW)
    zero = rows.new_zeros(())
    starts = _step(zero, torch.arange(1, ROW + 1, device=rows.device))
    whole = zero + len(memory)
    for first in range(0, len(rows), BLOCK_ROWS):
        columns = starts
        for row in rows[first : first + BLOCK_ROWS]:
            columns = _step(columns, row)
        block = zero
        for column in columns:
            block = _step(block, column)
        whole = _step(whole, block)
    return whole


def _step(digest: Tensor, word: Tensor) -> Tensor:
    """Add one word to a digest. The product wraps around."""
    both = digest ^ word
    return (both ^ (both >> 32 & 0xFFFFFFFF)) * FACTOR
