"""The FFN under a mask, (gelu(x·w_inᵀ + b_in) ∘ scale + shift + noise) · w_outᵀ + b_out.

The mask is an epilogue of the up-projection, so it costs no pass over the activations. The down-projection of a full
width is a plain matrix product, which the vendor's library does best.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .device import gelu, line, project
from .noise import keyed_normal

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BLOCK_M = 64
BLOCK_N = 64
WARPS = 8


@triton.jit
def up_masked_kernel(
    x, w_in, b_in, scale, shift, alpha, noise, rows, out, tokens, hidden, neurons, x_m, x_h, w_f, w_h,
    NOISE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(tokens, BLOCK_M)
    m = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    f = (tl.program_id(0) // blocks).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    own, valid = m < tokens, f < neurons
    product = project(x + m * x_m, own, w_in + f * w_f, valid, hidden, x_h, w_h, BLOCK_H)
    product += tl.load(b_in + f, mask=valid, other=0.0).to(tl.float32)[None, :]
    # Rounded before the mask, so that a mask of scale 1 and shift 0 changes nothing.
    act = gelu(product).to(x.dtype.element_ty).to(tl.float32)
    act = act * tl.load(scale + f, mask=valid, other=0.0).to(tl.float32)[None, :]
    act += tl.load(shift + f, mask=valid, other=0.0).to(tl.float32)[None, :]
    here = own[:, None] & valid[None, :]
    if NOISE:
        row = tl.load(rows + m, mask=own, other=0)
        epsilon = tl.load(noise + row[:, None] * neurons + f[None, :], mask=here, other=0.0)
        act += epsilon * tl.load(alpha + f, mask=valid, other=0.0)[None, :]
    tl.store(out + m[:, None] * neurons + f[None, :], act.to(x.dtype.element_ty), mask=here)


def up_masked(
    x: Tensor, w_in: Tensor, b_in: Tensor, scale: Tensor, shift: Tensor,
    alpha: Tensor | None = None, noise: Tensor | None = None, rows: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """gelu(x·w_inᵀ + b_in) ∘ scale + shift + noise[rows] ∘ alpha as ``[N, F]``; see :func:`ffn_masked`."""
    torch._check(
        x.dtype in DTYPES and w_in.dtype == b_in.dtype == x.dtype,
        lambda: (
            f"ffn_masked: x, w_in and b_in must share float32, bfloat16 or float16, got {x.dtype}, "
            f"{w_in.dtype} and {b_in.dtype}"
        ),
    )
    (tokens, hidden), neurons = x.shape, w_in.shape[0]
    out = x.new_empty((tokens, neurons))
    if out.numel() == 0:
        return out
    noisy = alpha is not None
    with torch.cuda.device_of(x):
        up_masked_kernel[(triton.cdiv(tokens, BLOCK_M) * triton.cdiv(neurons, BLOCK_N),)](
            x, w_in, b_in, scale, shift, *((alpha, noise, rows) if noisy else (scale, scale, scale)), out,
            tokens, hidden, neurons, *x.stride(), *w_in.stride(), NOISE=noisy,
            BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, BLOCK_H=line(x), num_warps=WARPS,
        )  # fmt: skip
    return out


def ffn_masked(
    x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, scale: Tensor, shift: Tensor,
    alpha: Tensor | None = None, seed: int = 0, layer: int = 0, examples: Tensor | None = None,
    rows: Tensor | None = None, neurons: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(gelu(x·w_inᵀ + b_in) ∘ scale + shift + alpha ∘ ε) · w_outᵀ + b_out, for inference.

    ε is keyed by (seed, example, layer, neuron) as in :mod:`skn.noise`: one value per example and neuron, shared by
    the example's tokens.

    Args:
        x: float32, bfloat16 or float16 ``[N, H]``, any strides; N tokens.
        w_in, w_out: ``[F, H]`` and ``[H, F]``, dtype of x, any strides.
        b_in, b_out: ``[F]`` and ``[H]``, contiguous, dtype of x.
        scale, shift: ``[F]``, contiguous, any floating dtype.
        alpha: float32 ``[F]``, contiguous, the noise's standard deviation, 0 where there is none; None for no noise
            anywhere, and the arguments below are not read.
        examples: int64 ``[B]``, row numbers of the split.
        rows: int64 ``[N]``, contiguous, for each token its example as an index into ``examples``.
        neurons: int64 ``[F]``, original neuron indices.

    Returns:
        ``[N, H]`` in the dtype of x.

    Raises:
        RuntimeError: a dtype that the kernel does not have.
    """
    noise = None if alpha is None else keyed_normal(seed, examples, layer, neurons)
    act = up_masked(x, w_in, b_in, scale, shift, alpha, noise, rows)
    return torch.nn.functional.linear(act, w_out, b_out)
