"""Statistics of given activations: a program owns one position and a tile of neurons, and loops over the batch.

Sums are float64. The tile fixes their order, not the split of the batch or the scheduling of the device. So a kernel is
deterministic, but its last bits differ from the CPU's. Counts are exact.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .device import add_to, round_down
from .groups import group_by_class

# Examples and neurons of a tile. 16 rows keep enough loads in flight; 128 neurons are two full lines of bfloat16.
BLOCK_B = 16
BLOCK_F = 128


@triton.jit
def moments_kernel(
    act, order, begin, total, total_sq, classes, neurons,
    act_b, act_p, act_f, total_c, total_p, total_f, sq_c, sq_p, sq_f,
    BLOCK_B: tl.constexpr, BLOCK_F: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles = tl.cdiv(neurons, BLOCK_F)  # neighbouring programs read neighbouring memory
    p = (program // tiles).to(tl.int64)
    f = (program % tiles).to(tl.int64) * BLOCK_F + tl.arange(0, BLOCK_F)
    valid = f < neurons
    rows = act + p * act_p + f * act_f
    for c in range(0, classes):
        first, last = tl.load(begin + c), tl.load(begin + c + 1)
        if first < last:
            # One sum for each row of the tile. The sums are added once for each class, not once for each tile.
            sums = tl.zeros([BLOCK_B, BLOCK_F], tl.float64)
            squares = tl.zeros([BLOCK_B, BLOCK_F], tl.float64)
            for start in range(first, last, BLOCK_B):
                k = start + tl.arange(0, BLOCK_B)
                example = tl.load(order + k, mask=k < last, other=0)
                here = (k < last)[:, None] & valid[None, :]
                value = tl.load(rows[None, :] + example[:, None] * act_b, mask=here, other=0.0).to(tl.float64)
                sums += value
                squares += value * value
            c64 = tl.cast(c, tl.int64)
            add_to(total + c64 * total_c + p * total_p + f * total_f, valid, tl.sum(sums, axis=0))
            add_to(total_sq + c64 * sq_c + p * sq_p + f * sq_f, valid, tl.sum(squares, axis=0))


@triton.jit
def hits_kernel(
    act, threshold, order, begin, hits, classes, neurons,
    act_b, act_p, act_f, threshold_p, threshold_f, hits_c, hits_p, hits_f,
    BLOCK_B: tl.constexpr, BLOCK_F: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles = tl.cdiv(neurons, BLOCK_F)  # neighbouring programs read neighbouring memory
    p = (program // tiles).to(tl.int64)
    f = (program % tiles).to(tl.int64) * BLOCK_F + tl.arange(0, BLOCK_F)
    valid = f < neurons
    rows = act + p * act_p + f * act_f
    exact = tl.load(threshold + p * threshold_p + f * threshold_f, mask=valid, other=0.0)
    # Activations narrower than float64 are exact in float32, and small devices have few float64 units.
    limit = exact if act.dtype.element_ty == tl.float64 else round_down(exact)
    for c in range(0, classes):
        first, last = tl.load(begin + c), tl.load(begin + c + 1)
        if first < last:
            count = tl.zeros([BLOCK_B, BLOCK_F], tl.int32)
            for start in range(first, last, BLOCK_B):
                k = start + tl.arange(0, BLOCK_B)
                example = tl.load(order + k, mask=k < last, other=0)
                here = (k < last)[:, None] & valid[None, :]
                value = tl.load(rows[None, :] + example[:, None] * act_b, mask=here, other=0.0).to(limit.dtype)
                count += ((value > limit[None, :]) & here).to(tl.int32)
            c64 = tl.cast(c, tl.int64)
            add_to(hits + c64 * hits_c + p * hits_p + f * hits_f, valid, tl.sum(count, axis=0).to(tl.int64))


def accumulate_moments(count: Tensor, total: Tensor, total_sq: Tensor, act: Tensor, labels: Tensor) -> None:
    """The operator ``accumulate_moments``. Arguments as in :func:`skn.ops.accumulate_moments`, with shapes checked
    before.

    Raises:
        RuntimeError: a label is out of range. No state changes.
    """
    _, positions, neurons = act.shape
    classes = count.shape[0]
    groups = group_by_class("accumulate_moments", labels, classes, act.device)
    count += groups.begin.diff()
    if act.numel() == 0:
        return
    with torch.cuda.device_of(act):
        moments_kernel[(positions * triton.cdiv(neurons, BLOCK_F),)](
            act, groups.order, groups.begin, total, total_sq, classes, neurons,
            *act.stride(), *total.stride(), *total_sq.stride(), BLOCK_B=BLOCK_B, BLOCK_F=BLOCK_F,
        )  # fmt: skip


def accumulate_hits(hits: Tensor, act: Tensor, threshold: Tensor, labels: Tensor) -> None:
    """The operator ``accumulate_hits``. Arguments as in :func:`skn.ops.accumulate_hits`, with shapes checked before.

    Raises:
        RuntimeError: a label is out of range. No state changes.
    """
    _, positions, neurons = act.shape
    classes = hits.shape[0]
    groups = group_by_class("accumulate_hits", labels, classes, act.device)
    if act.numel() == 0:
        return
    with torch.cuda.device_of(act):
        hits_kernel[(positions * triton.cdiv(neurons, BLOCK_F),)](
            act, threshold, groups.order, groups.begin, hits, classes, neurons,
            *act.stride(), *threshold.stride(), *hits.stride(), BLOCK_B=BLOCK_B, BLOCK_F=BLOCK_F,
        )  # fmt: skip
