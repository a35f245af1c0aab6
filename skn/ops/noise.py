"""Keyed gaussian noise: a function of (seed, example, layer, neuron), the same bits everywhere.

16 bits of Philox4x32-10 (Salmon et al., SC 2011) index a table of the inverse normal. Counter = (example, layer,
neuron // 8), key = seed: one Philox call serves eight neurons. Only integer operations and one table look-up touch
the value, so device, batch size and process count cannot change it.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
NEURONS_PER_CALL = 8


@functools.cache
def inverse_normal_table() -> Tensor:
    """[65536] float32: the standard normal quantile at the middle of each of 65,536 equal shares."""
    return torch.from_numpy(ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32))


def philox4x32(counter: tuple[Tensor, ...], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10 on int64 tensors that hold 32-bit words; broadcasts the four counter words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # The 64-bit product wraps in int64, which keeps every bit; the mask undoes the sign.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _LOW) ^ c1 ^ k0,
            product1 & _LOW,
            ((product0 >> 32) & _LOW) ^ c3 ^ k1,
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def keyed_normal(seed: int, examples: Tensor, layer: int, neurons: Tensor) -> Tensor:
    """Return ε [B, width] float32 for examples [B] int64 (row numbers of the split) and original neuron indices
    [width].

    On CUDA, if Triton is installed, one Triton kernel gives the same bits.
    """
    if examples.is_cuda and find_spec("triton") is not None:
        from skn.kernels import noise

        return noise.keyed_normal(seed, examples, layer, neurons)
    examples = examples[:, None]
    zero = torch.zeros_like(examples)
    counter = (examples & _LOW, (examples >> 32) & _LOW, zero + layer, (neurons // NEURONS_PER_CALL)[None] + zero)
    words = torch.stack(torch.broadcast_tensors(*philox4x32(counter, (seed & _LOW, (seed >> 32) & _LOW))))
    slot = (neurons % NEURONS_PER_CALL)[None].expand_as(words[0])
    word = words.gather(0, (slot // 2)[None])[0]
    return inverse_normal_table().to(examples.device)[(word >> (slot % 2) * 16) & 0xFFFF]
