"""The FFN under a mask, (gelu(x·w_inᵀ + b_in) ∘ scale + shift) · w_outᵀ + b_out.

The mask is an epilogue of the up-projection, so it needs no extra pass over the activations. The down-projection of a
full width is a plain matrix product, for which the vendor's library is best.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops import reference

from .device import check_tensors, gelu, line, project

BLOCK_M = 64
BLOCK_N = 64
WARPS = 8


@triton.jit
def up_masked_kernel(
    x, w_in, b_in, scale, shift, out, tokens, hidden, neurons, per_example, x_m, x_h, w_f, w_h, shift_b,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(tokens, BLOCK_M)
    m = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    f = (tl.program_id(0) // blocks).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    own, valid = m < tokens, f < neurons
    here = own[:, None] & valid[None, :]
    product = project(x + m * x_m, own, w_in + f * w_f, valid, hidden, x_h, w_h, BLOCK_H)
    product += tl.load(b_in + f, mask=valid, other=0.0).to(tl.float32)[None, :]
    # The activation is rounded before the mask, so that a mask of scale 1 and shift 0 changes nothing.
    act = gelu(product).to(x.dtype.element_ty).to(tl.float32)
    act = act * tl.load(scale + f, mask=valid, other=0.0)[None, :]
    example = m // per_example
    act += tl.load(shift + example[:, None] * shift_b + f[None, :], mask=here, other=0.0)
    tl.store(out + m[:, None] * neurons + f[None, :], act.to(x.dtype.element_ty), mask=here)


def ffn_masked(
    x: Tensor,
    w_in: Tensor,
    b_in: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    scale: Tensor,
    shift: Tensor,
    neurons: Tensor | None = None,
    values: Tensor | None = None,
    source: Tensor | None = None,
) -> Tensor:
    """The operator ``ffn_masked``. Arguments as in :func:`skn.ops.ffn.ffn_masked`, with plain weights of any strides.

    Chosen neurons take their activations in torch, between kernel and product. Their indices are checked, which waits for
    the device if they are on the device.

    Raises:
        RuntimeError: a shape, dtype or device does not fit.
    """
    hidden, width, examples = x.shape[-1], b_in.shape[0], x.shape[0] if x.dim() > 1 else 1
    linear = {"w_in": (w_in, width, hidden), "b_in": (b_in, width), "w_out": (w_out, hidden, width)}
    check_tensors("ffn_masked", x, linear | {"b_out": (b_out, hidden)})
    shared = shift.dim() == 2 and shift.shape[0] == 1
    mask = {"scale": (scale, width), "shift": (shift, 1 if shared else examples, width)}
    check_tensors("ffn_masked", x, mask, torch.float32)
    rows = x.reshape(-1, hidden)
    act = x.new_empty((rows.shape[0], width))
    if act.numel():
        scale, shift = scale.contiguous(), shift.contiguous()
        with torch.cuda.device_of(x):
            up_masked_kernel[(triton.cdiv(rows.shape[0], BLOCK_M) * triton.cdiv(width, BLOCK_N),)](
                rows, w_in, b_in.contiguous(), scale, shift, act, *rows.shape, width, rows.shape[0] // examples,
                *rows.stride(), *w_in.stride(), 0 if shared else width,
                BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, BLOCK_H=line(x), num_warps=WARPS,
            )  # fmt: skip
    if neurons is not None:
        reference.check_chosen("ffn_masked", neurons, act.shape[1], values, source)
        act = reference.taken(act, neurons, values, source)
    return torch.nn.functional.linear(act, w_out, b_out).view(x.shape)
