"""The FFN sublayer with few neurons in one kernel: LayerNorm(x + gelu(x·w_inᵀ + b_in)·w_outᵀ + b_out).

A program owns a block of rows and loops over tiles of neurons. The activation of a tile never leaves the chip, the sum
over the tiles stays in registers, and the rows are stored once, normalised. The program reads its rows of x again for
each tile of neurons. With few neurons it reads them once or twice, from the cache, which costs less than registers for
the rows beside the sum.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops import reference

from .device import check_tensors, gelu, line, project

MAX_HIDDEN = 1024  # with a larger H, the sum of a block of rows does not fit into the registers
# With more neurons, the products cost more than the memory passes that one kernel saves. A guess, not measured.
MAX_NEURONS = 512
BLOCK_M = 16
BLOCK_N = 32
WARPS = 8
# So few neurons are one tile, and the rows are read once for it. In float32 the registers would not hold the tile.
FEW_NEURONS = 64
FEW = {"BLOCK_N": 64, "BLOCK_H": 128}


@triton.jit
def ffn_pruned_kernel(
    x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, out, tokens, hidden, neurons, eps,
    x_m, x_h, w_in_f, w_in_h, w_out_h, w_out_f,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    h = tl.arange(
        0, WIDTH
    )  # 32 bits, because WIDTH times a row stride is small, and 64 bits would double the registers of addresses
    own, inside = m < tokens, h < hidden
    here = own[:, None] & inside[None, :]
    total = tl.zeros([BLOCK_M, WIDTH], tl.float32)
    for start in range(0, neurons, BLOCK_N):
        f = start + tl.arange(0, BLOCK_N).to(tl.int64)
        valid = f < neurons
        product = project(x + m * x_m, own, w_in + f * w_in_f, valid, hidden, x_h, w_in_h, BLOCK_H)
        product += tl.load(b_in + f, mask=valid, other=0.0).to(tl.float32)[None, :]
        act = gelu(product).to(x.dtype.element_ty)
        # Neurons after the last have weight 0 on both sides: gelu(0 + 0) = 0, times 0.
        down = tl.load(
            w_out + h[None, :] * w_out_h + f[:, None] * w_out_f, mask=valid[:, None] & inside[None, :], other=0.0
        )
        total = tl.dot(act, down, total, input_precision="ieee")

    total += tl.load(b_out + h, mask=inside, other=0.0).to(tl.float32)[None, :]
    total += tl.load(x + m[:, None] * x_m + h[None, :] * x_h, mask=here, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=1) / hidden
    # Two passes over registers, because E[x²] − E[x]² would cancel.
    centred = tl.where(inside[None, :], total - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / hidden + eps)
    weight = tl.load(ln_weight + h, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(ln_bias + h, mask=inside, other=0.0).to(tl.float32)
    result = centred * scale[:, None] * weight[None, :] + bias[None, :]
    tl.store(out + m[:, None] * hidden + h[None, :], result.to(x.dtype.element_ty), mask=here)


def blocks(x: Tensor, neurons: int) -> dict[str, int]:
    """Return how many neurons are a tile, and how many columns of x are a step of its projection. A guess, not measured."""
    if x.element_size() == 2 and neurons <= FEW_NEURONS:
        return FEW
    return {"BLOCK_N": BLOCK_N, "BLOCK_H": line(x)}


def ffn_pruned(
    x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, ln_weight: Tensor, ln_bias: Tensor, eps: float
) -> Tensor:
    """The operator ``ffn_pruned``. Arguments as in :func:`skn.ops.ffn.ffn_pruned`, with plain weights of any strides.

    The kernel reads whole lines of a ``w_out`` that is the transpose of a contiguous ``[k, H]``. If the kernel does not
    fit, the eager definition computes the result.

    Raises:
        RuntimeError: a shape, dtype or device does not fit.
    """
    if x.shape[-1] > MAX_HIDDEN or b_in.shape[0] > MAX_NEURONS:
        with torch.no_grad():
            return reference.ffn_pruned(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps)
    return one_kernel(x, w_in, b_in, w_out, b_out, ln_weight, ln_bias, eps)


def one_kernel(
    x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, ln_weight: Tensor, ln_bias: Tensor, eps: float
) -> Tensor:
    """Compute :func:`ffn_pruned` with the kernel, for any number of neurons. H is at most ``MAX_HIDDEN``."""
    hidden, neurons = x.shape[-1], b_in.shape[0]
    linear = {"w_in": (w_in, neurons, hidden), "b_in": (b_in, neurons), "w_out": (w_out, hidden, neurons)}
    vectors = {"b_out": (b_out, hidden), "ln_weight": (ln_weight, hidden), "ln_bias": (ln_bias, hidden)}
    check_tensors("ffn_pruned", x, linear | vectors)
    rows = x.reshape(-1, hidden)
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    if out.numel():
        b_in, b_out, ln_weight, ln_bias = (t.contiguous() for t in (b_in, b_out, ln_weight, ln_bias))
        width = max(16, triton.next_power_of_2(hidden))
        with torch.cuda.device_of(x):
            ffn_pruned_kernel[(triton.cdiv(rows.shape[0], BLOCK_M),)](
                rows, w_in, b_in, w_out, b_out, ln_weight, ln_bias, out, rows.shape[0], hidden, neurons, eps,
                *rows.stride(), *w_in.stride(), *w_out.stride(),
                BLOCK_M=BLOCK_M, WIDTH=width, num_warps=WARPS, **blocks(x, neurons),
            )  # fmt: skip
    return out.view(x.shape)
