"""Shared by several kernels: the launchers' checks, and small device functions, which Triton inlines."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from skn.ops.checks import describe


def check_tensors(op: str, x: Tensor, expected: dict[str, tuple], dtype: torch.dtype | None = None) -> None:
    """Refuse tensors for which a kernel would read memory outside of them.

    ``expected`` maps a name to its tensor and the sizes that the tensor must have. The tensor must be on the device of
    x and have ``dtype``, by default the dtype of x.
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
    """Return how many elements of x fill a cache line of 128 bytes.

    A step of :func:`project` takes so many of each row.
    """
    return 128 // x.element_size()


@triton.jit
def round_down(value):
    """float64 → the largest float32 not above it: x > value iff x > round_down(value), for every float32 x.

    Rounding to nearest can give a larger number (a value beyond the largest float32 even becomes +inf). Then the result
    is the next float32 below, which has the neighbouring bit pattern. NaN stays NaN, and nothing exceeds NaN.
    """
    nearest = value.to(tl.float32)
    bits = nearest.to(tl.int32, bitcast=True)
    smallest_negative = -2147483647  # bits of -2^-149, the next float32 below both zeros
    below = tl.where(bits > 0, bits - 1, bits + 1)
    below = tl.where(nearest == 0.0, smallest_negative, below)
    return tl.where(nearest.to(tl.float64) > value, below.to(tl.float32, bitcast=True), nearest)


@triton.jit
def larger(a, b):
    """Maximum in which a NaN wins: NaN replaces any value, and no value replaces NaN."""
    return tl.where((b > a) | (b != b), b, a)


@triton.jit
def gelu(x):
    """Exact gelu, with the error function, in float32."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def project(x_rows, x_valid, w_rows, w_valid, width, x_stride, w_stride, BLOCK: tl.constexpr):
    """x·wᵀ as [rows of x, rows of w] float32. ``x_rows`` and ``w_rows`` point at the first element of each row."""
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

    The barrier makes the sum visible to the thread of this program that reads the element next.
    """
    tl.store(state, tl.load(state, mask=valid) + increment, mask=valid)
    tl.debug_barrier()
