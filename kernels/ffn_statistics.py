"""Up-projection with the statistics of its activation in the epilogue, so that the activation need not reach memory.

A program owns one position and a tile of neurons over the whole batch, sorted by class. The statistics count the
activation as the down-projection reads it, rounded to the compute dtype. On request the activation is written, too.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .device import add_to, gelu, line, project, round_down
from .groups import Groups

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BLOCK_B = 32
BLOCK_F = 64
WARPS = 8


@triton.jit
def up_statistics_kernel(
    x, w_in, b_in, order, label, out, threshold, first, second, batch, positions, hidden, neurons,
    x_b, x_p, x_h, w_f, w_h, threshold_p, threshold_f, first_c, first_p, first_f, second_c, second_p, second_f,
    MOMENTS: tl.constexpr, WRITE: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    p = (program % positions).to(tl.int64)  # neighbouring programs share a tile of weights
    f = (program // positions).to(tl.int64) * BLOCK_F + tl.arange(0, BLOCK_F)
    valid = f < neurons
    bias = tl.load(b_in + f, mask=valid, other=0.0).to(tl.float32)
    first += p * first_p + f * first_f
    if MOMENTS:
        second += p * second_p + f * second_f
    else:
        limit = round_down(tl.load(threshold + p * threshold_p + f * threshold_f, mask=valid, other=0.0))

    for start in range(0, batch, BLOCK_B):
        k = start + tl.arange(0, BLOCK_B)
        own = k < batch
        example = tl.load(order + k, mask=own, other=0)
        product = project(x + example * x_b + p * x_p, own, w_in + f * w_f, valid, hidden, x_h, w_h, BLOCK_H)
        act = gelu(product + bias[None, :]).to(x.dtype.element_ty)
        if WRITE:
            rows = out + (example * positions + p) * neurons
            tl.store(rows[:, None] + f[None, :], act, mask=own[:, None] & valid[None, :])
        of_row = tl.load(label + k, mask=own, other=-1)
        last = tl.minimum(start + BLOCK_B, batch) - 1
        # Rows are sorted, so a tile holds neighbouring classes. A class without rows adds zero.
        for c in range(tl.load(label + start), tl.load(label + last) + 1):
            of_class = (of_row == c)[:, None]
            if MOMENTS:
                value = tl.where(of_class, act.to(tl.float64), 0.0)
                add_to(first + c * first_c, valid, tl.sum(value, axis=0))
                add_to(second + c * second_c, valid, tl.sum(value * value, axis=0))
            else:
                exceeds = (act.to(tl.float32) > limit[None, :]) & of_class
                add_to(first + c * first_c, valid, tl.sum(exceeds.to(tl.int32), axis=0).to(tl.int64))


def up_projection_moments(
    x: Tensor, w_in: Tensor, b_in: Tensor, groups: Groups, total: Tensor, total_sq: Tensor, write: bool = False
) -> Tensor | None:
    """Add a batch's moments of gelu(x·w_inᵀ + b_in) to ``total`` and ``total_sq``. The caller adds the counts.

    Args:
        x: float32, bfloat16 or float16 ``[B, P, H]``, any strides.
        w_in: ``[F, H]``, dtype of x, any strides.
        b_in: ``[F]``, contiguous, dtype of x.
        groups: the batch by class, from :func:`skn.kernels.groups.group_by_class`.
        total, total_sq: float64 ``[C, P, F]``, any strides but not expanded.
        write: also return the activation.

    Returns:
        The activation ``[B, P, F]`` in the dtype of x, or None.

    Raises:
        RuntimeError: a dtype that the kernel does not support.
    """
    return _launch(x, w_in, b_in, groups, None, (total, total_sq), write)


def up_projection_hits(
    x: Tensor, w_in: Tensor, b_in: Tensor, groups: Groups, threshold: Tensor, hits: Tensor, write: bool = False
) -> Tensor | None:
    """Count, per class, the activations gelu(x·w_inᵀ + b_in) above ``threshold``, exactly.

    Like :func:`up_projection_moments`, with ``threshold`` float64 ``[P, F]`` of any strides and ``hits`` int64
    ``[C, P, F]``.
    """
    return _launch(x, w_in, b_in, groups, threshold, (hits, hits), write)


def _launch(x, w_in, b_in, groups, threshold, state, write):
    torch._check(
        x.dtype in DTYPES and w_in.dtype == b_in.dtype == x.dtype,
        lambda: (
            f"up_projection: x, w_in and b_in must share float32, bfloat16 or float16, got {x.dtype}, "
            f"{w_in.dtype} and {b_in.dtype}"
        ),
    )
    batch, positions, hidden = x.shape
    neurons = w_in.shape[0]
    out = x.new_empty((batch, positions, neurons)) if write else None
    if batch * positions * neurons == 0:
        return out
    first, second = state
    with torch.cuda.device_of(x):
        up_statistics_kernel[(positions * triton.cdiv(neurons, BLOCK_F),)](
            x, w_in, b_in, groups.order, groups.label, out if write else x, first if threshold is None else threshold,
            first, second, batch, positions, hidden, neurons, *x.stride(), *w_in.stride(),
            *((0, 0) if threshold is None else threshold.stride()), *first.stride(), *second.stride(),
            MOMENTS=threshold is None, WRITE=write, BLOCK_B=BLOCK_B, BLOCK_F=BLOCK_F, BLOCK_H=line(x), num_warps=WARPS,
        )  # fmt: skip
    return out
