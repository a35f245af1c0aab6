"""Kendall's tau-b on CUDA: the launcher of csrc/cuda/kendall_tau.cu, which counts in integers.

It lives beside the Triton launchers because it is called like them; the kernel itself is in the native CUDA library.
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from skn import native


def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tau-b of every column of ``x`` with every column of ``y``, and the integers it is made of.

    Ties are exact: −0.0 equals 0.0, and a pair with a NaN counts as tied. A column that holds a NaN or one value only
    has tau NaN.

    Args:
        x: float32 or float64 ``[n, p]`` on CUDA, any strides.
        y: ``[n, q]``, dtype and device of x, any strides.

    Returns:
        tau float64 ``[p, q]``; concordant minus discordant pairs int64 ``[p, q]``; tied pairs int64 ``[p]`` of x and
        ``[q]`` of y.

    Raises:
        RuntimeError: a dtype, shape or device does not fit, the CUDA library was not built, or CUDA failed.
    """
    torch._check(
        x.dtype in (torch.float32, torch.float64) and y.dtype == x.dtype,
        lambda: f"kendall_tau: x and y must both be float32 or float64, got {x.dtype} and {y.dtype}",
    )
    torch._check(
        x.dim() == y.dim() == 2 and x.shape[0] == y.shape[0] and x.device == y.device,
        lambda: f"kendall_tau: x and y must be [n, p] and [n, q] on one device, got {list(x.shape)}, {list(y.shape)}",
    )
    torch._check(x.is_cuda and native.cuda_loaded(), lambda: "kendall_tau: needs CUDA and skn's CUDA library")
    (n, p), q = x.shape, y.shape[1]
    sums, ties_x, ties_y = (x.new_empty(shape, dtype=torch.int64) for shape in ((p, q), (p,), (q,)))
    wide = x.dtype == torch.float64
    library = _library()
    workspace = x.new_empty(library.skn_concordance_workspace(n, q, wide), dtype=torch.uint8)
    with torch.cuda.device_of(x):
        error = library.skn_concordance(
            x.data_ptr(), y.data_ptr(), wide, n, p, q, *x.stride(), *y.stride(), sums.data_ptr(), ties_x.data_ptr(),
            ties_y.data_ptr(), workspace.data_ptr(), torch.cuda.current_stream().cuda_stream,
        )  # fmt: skip
    torch._check(error == 0, lambda: f"kendall_tau: CUDA says {library.skn_cuda_error(error).decode()}")
    return tau_b(sums, ties_x, ties_y, x, y), sums, ties_x, ties_y


def tau_b(sums: Tensor, ties_x: Tensor, ties_y: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The quotient, from integers: float64 [p, q], NaN where a column holds a NaN or only ties."""
    pairs = x.shape[0] * (x.shape[0] - 1) // 2
    untied_x, untied_y = (
        (pairs - ties).double().masked_fill(values.isnan().any(0), torch.nan)
        for ties, values in ((ties_x, x), (ties_y, y))
    )
    return (sums / untied_x.sqrt()[:, None] / untied_y.sqrt()).clamp(-1.0, 1.0)


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(native.CUDA_LIBRARY))
    size, pointer, flag = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32
    library.skn_concordance_workspace.argtypes = [size, size, flag]
    library.skn_concordance_workspace.restype = size
    library.skn_concordance.argtypes = [pointer, pointer, flag, *[size] * 7, *[pointer] * 5]
    library.skn_cuda_error.argtypes, library.skn_cuda_error.restype = [flag], ctypes.c_char_p
    return library
