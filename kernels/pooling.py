"""Pooling over each example's own tokens: a program owns one example and a tile of neurons."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops.reference import check_spans

from .device import larger

BLOCK_S = 16
BLOCK_F = 128


@triton.jit
def pool_kernel(
    act, lengths, offset, out, neurons, act_b, act_s, act_f, lengths_b, offset_b,
    MEAN: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_F: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles = tl.cdiv(neurons, BLOCK_F)  # neighbouring programs read neighbouring memory
    b = (program // tiles).to(tl.int64)
    f = (program % tiles).to(tl.int64) * BLOCK_F + tl.arange(0, BLOCK_F)
    valid = f < neurons
    length = tl.load(lengths + b * lengths_b)
    rows = act + b * act_b + tl.load(offset + b * offset_b) * act_s + f * act_f
    empty = 0.0 if MEAN else float("-inf")
    pooled = tl.full([BLOCK_S, BLOCK_F], empty, tl.float64 if MEAN else out.dtype.element_ty)
    for start in range(0, length, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S).to(tl.int64)
        here = (s < length)[:, None] & valid[None, :]
        value = tl.load(rows[None, :] + s[:, None] * act_s, mask=here, other=empty).to(pooled.dtype)
        pooled = pooled + value if MEAN else larger(pooled, value)
    result = tl.sum(pooled, axis=0) / tl.maximum(length, 1) if MEAN else tl.reduce(pooled, 0, larger)
    result = tl.where(length == 0, 0.0, result)
    tl.store(out + b * neurons + f, result.to(out.dtype.element_ty), mask=valid)


def pool_tokens(act: Tensor, lengths: Tensor, offset: Tensor, reduce: str) -> Tensor:
    """The operator ``pool_tokens``. Arguments as in :func:`skn.ops.pool_tokens`, with shapes checked before.

    Raises:
        RuntimeError: a span leaves the sequence.
    """
    examples, tokens, neurons = act.shape
    check_spans(lengths, offset, tokens)  # on the CPU, where this waits for nothing, or on the device
    lengths, offset = (span.to(act.device, non_blocking=True) for span in (lengths, offset))
    dtype = torch.float64 if act.dtype == torch.float64 else torch.float32
    out = act.new_empty((examples, neurons), dtype=dtype)
    if out.numel():
        with torch.cuda.device_of(act):
            pool_kernel[(examples * triton.cdiv(neurons, BLOCK_F),)](
                act, lengths, offset, out, neurons, *act.stride(), lengths.stride(0), offset.stride(0),
                MEAN=reduce == "mean", BLOCK_S=BLOCK_S, BLOCK_F=BLOCK_F,
            )  # fmt: skip
    return out
