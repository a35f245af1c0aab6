"""What several kernels share: checks of their launchers, and device functions of a few lines, inlined by Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops.checks import describe


def check_tensors(op: str, x: Tensor, expected: dict[str, tuple], dtype: torch.dtype | None = None) -> None:
    """Refuse what a kernel would read foreign memory for.

    ``expected`` maps a name to its tensor and the sizes that it must have, on the device of x and in ``dtype``, or else
    in that of x.
    """
    dtype = dtype or x.dtype
    for name, (tensor, *sizes) in expected.items():
        torch._check(
            tensor.dtype == dtype and list(tensor.shape) == sizes and tensor.device == x.device,
            lambda name=name, tensor=tensor, sizes=sizes: (
                f"{op}: {name} must be {str(dtype).removeprefix('torch.')} {sizes} on {x.device}, "
                f"got {describe(tensor)} on {tensor.device}"
            ),
        )


def line(x: Tensor) -> int:
    """Elements of x in a cache line of 128 bytes: what a step of :func:`project` takes of each row."""
    return 128 // x.element_size()


@triton.jit
def round_down(value):
    """float64 → the largest float32 not above it: x > value iff x > round_down(value), for every float32 x.

    Nearest rounding can land above (a value beyond the largest float32 even becomes +inf); then the next float32
    down is the answer, which is the neighbouring bit pattern. NaN stays NaN, which nothing exceeds.
    """
    nearest = value.to(tl.float32)
    bits = nearest.to(tl.int32, bitcast=True)
    smallest_negative = -2147483647  # bits of -2^-149, the neighbour of both zeros
    below = tl.where(bits > 0, bits - 1, bits + 1)
    below = tl.where(nearest == 0.0, smallest_negative, below)
    return tl.where(nearest.to(tl.float64) > value, below.to(tl.float32, bitcast=True), nearest)


@triton.jit
def larger(a, b):
    """Maximum in which a NaN wins: it replaces anything, and nothing exceeds it."""
    return tl.where((b > a) | (b != b), b, a)


@triton.jit
def gelu(x):
    """The exact form, with the error function; float32."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def project(x_rows, x_valid, w_rows, w_valid, width, x_stride, w_stride, BLOCK: tl.constexpr):
    """x·wᵀ as [rows of x, rows of w] float32; ``x_rows`` and ``w_rows`` point at the first element of each row."""
    product = tl.zeros([x_rows.shape[0], w_rows.shape[0]], tl.float32)
    for start in range(0, width, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = tl.load(x_rows[:, None] + k[None, :] * x_stride, mask=x_valid[:, None] & (k < width)[None, :], other=0.0)
        w = tl.load(w_rows[None, :] + k[:, None] * w_stride, mask=w_valid[None, :] & (k < width)[:, None], other=0.0)
        product = tl.dot(x, w, product, input_precision="ieee")
    return product


@triton.jit
def add_to(state, valid, increment):
    """state += increment, for elements that no other program touches.

    The barrier makes the sum visible to whichever thread of this program reads the element next.
    """
    tl.store(state, tl.load(state, mask=valid) + increment, mask=valid)
    tl.debug_barrier()
