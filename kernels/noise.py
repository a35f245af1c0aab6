"""Keyed gaussian noise on the device, with the bits of :func:`skn.ops.noise.keyed_normal`.

Triton's own Philox4x32 is the same generator. This file fixes the content of counter and key, and which 16 bits index
the table.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops.noise import inverse_normal_table

BLOCK = 128
_WORD = 0xFFFFFFFF


@triton.jit
def noise_kernel(
    examples, neurons, table, out, width, examples_b, neurons_f, seed_low, seed_high, layer, BLOCK: tl.constexpr
):
    tiles = tl.cdiv(width, BLOCK)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    f = (tl.program_id(0) % tiles) * BLOCK + tl.arange(0, BLOCK)
    valid = f < width
    example = tl.load(examples + row * examples_b)
    neuron = tl.load(neurons + f.to(tl.int64) * neurons_f, mask=valid, other=0)
    zero = tl.zeros([BLOCK], tl.uint32)
    # Triton would pass a seed as 32 or 64 bits, depending on its value. Two words are always 32 bits each.
    w0, w1, w2, w3 = tl.philox_impl(
        zero + (example & 0xFFFFFFFF).to(tl.uint32),
        zero + ((example >> 32) & 0xFFFFFFFF).to(tl.uint32),
        zero + tl.cast(layer, tl.uint32),
        (neuron // 8).to(tl.uint32),
        zero + tl.cast(seed_low, tl.uint32),
        zero + tl.cast(seed_high, tl.uint32),
    )
    slot = neuron % 8
    word = tl.where(slot < 4, tl.where(slot < 2, w0, w1), tl.where(slot < 6, w2, w3))
    index = (word >> ((slot % 2) * 16).to(tl.uint32)) & 0xFFFF
    tl.store(out + row * width + f, tl.load(table + index.to(tl.int64)), mask=valid)


@functools.cache
def _table(device: torch.device) -> Tensor:
    return inverse_normal_table().to(device)


def keyed_normal(seed: int, examples: Tensor, layer: int, neurons: Tensor) -> Tensor:
    """ε [B, width] float32 for examples [B] int64 and original neuron indices [width] int64, on the device of both."""
    out = torch.empty((len(examples), len(neurons)), dtype=torch.float32, device=examples.device)
    if out.numel():
        with torch.cuda.device_of(examples):
            noise_kernel[(len(examples) * triton.cdiv(len(neurons), BLOCK),)](
                examples, neurons, _table(examples.device), out, len(neurons), examples.stride(0), neurons.stride(0),
                seed & _WORD, (seed >> 32) & _WORD, layer, BLOCK=BLOCK,
            )  # fmt: skip
    return out
