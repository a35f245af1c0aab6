"""LayerNorm(x + y) in one pass: each row is read once from x and once from y, and written once.

Eager PyTorch stores the sum and reads it again for the norm. The kernel rounds the sum to the type of x, as eager
PyTorch does when it stores the sum, so both normalise the same numbers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from .device import check_tensors

MAX_HIDDEN = 4096  # a thread then holds 32 numbers of a row
WARPS = 4


@triton.jit
def residual_norm_kernel(
    x, y, ln_weight, ln_bias, out, hidden, eps, x_m, x_h, y_m, y_h, WIDTH: tl.constexpr
):  # fmt: skip
    m = tl.program_id(0).to(tl.int64)
    h = tl.arange(0, WIDTH)
    inside = h < hidden
    total = tl.load(x + m * x_m + h * x_h, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(y + m * y_m + h * y_h, mask=inside, other=0.0).to(tl.float32)
    total = total.to(x.dtype.element_ty).to(tl.float32)
    mean = tl.sum(total, axis=0) / hidden
    # Two passes over registers, because E[x²] − E[x]² would cancel.
    centred = tl.where(inside, total - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / hidden + eps)
    weight = tl.load(ln_weight + h, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(ln_bias + h, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + m * hidden + h, (centred * scale * weight + bias).to(x.dtype.element_ty), mask=inside)


def residual_norm(x: Tensor, y: Tensor, ln_weight: Tensor, ln_bias: Tensor, eps: float) -> Tensor:
    """Return LayerNorm(x + y)·ln_weight + ln_bias, [rows, H] in the dtype of x. Statistics are float32.

    Args:
        x: float32, bfloat16 or float16 ``[rows, H]``, any strides.
        y: like x.
        ln_weight: ``[H]``, dtype of x.
        ln_bias: likewise.
        eps: the epsilon of the LayerNorm.

    With an H above ``MAX_HIDDEN``, eager PyTorch computes the result.

    Raises:
        RuntimeError: a shape, dtype or device does not fit.
    """
    rows, hidden = x.shape
    expected = {"y": (y, rows, hidden), "ln_weight": (ln_weight, hidden), "ln_bias": (ln_bias, hidden)}
    check_tensors("residual_norm", x, expected)
    if hidden > MAX_HIDDEN:
        return F.layer_norm(x + y, (hidden,), ln_weight, ln_bias, eps)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.numel():
        with torch.cuda.device_of(x):
            residual_norm_kernel[(rows,)](
                x, y, ln_weight.contiguous(), ln_bias.contiguous(), out, hidden, eps, *x.stride(), *y.stride(),
                WIDTH=triton.next_power_of_2(hidden), num_warps=WARPS,
            )  # fmt: skip
    return out
