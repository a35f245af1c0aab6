"""Kendall's tau-b on CUDA: the launcher of csrc/cuda/kendall_tau.cu, which counts in integers.

It lives beside the Triton launchers because it is called like them; the kernel itself is in the native CUDA library.
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from skn.ops import native

WORKSPACE = 2**28  # bytes of words of y in memory at once


def kendall_tau(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The operator of that name; arguments as in :func:`skn.ops.kendall_tau`, checked before. Waits for nothing.

    Raises:
        RuntimeError: CUDA failed.
    """
    nan_x, nan_y = x.isnan().any(0), y.isnan().any(0)
    # The columns are compared within themselves only, so a wider type for all of them changes nothing.
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    x, y = x.to(dtype), y.to(dtype)
    parts = [_count(x, part) for part in y.split(_columns_at_once(x), dim=1)]
    concordance, ties_y = torch.cat([part[0] for part in parts], 1), torch.cat([part[2] for part in parts])
    ties_x = parts[0][1]
    concordance.masked_fill_(nan_x[:, None] | nan_y, 0)
    ties_x.masked_fill_(nan_x[:, None], 0)
    ties_y.masked_fill_(nan_y[:, None], 0)
    roots = (_root(x.shape[0], ties, nan) for ties, nan in ((ties_x, nan_x), (ties_y, nan_y)))
    return _quotient(concordance, *roots), concordance, ties_x, ties_y


def _columns_at_once(x: Tensor) -> int:
    """How many columns of y become bits at once, so that their words stay within the limit."""
    of_column = _library().skn_concordance_workspace(x.shape[0], 0, x.dtype == torch.float64)
    return max(1, WORKSPACE // max(1, of_column))


def _count(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Concordance [p, q] and the tie sums [p, 3] and [q, 3], int64, of columns without a NaN."""
    (n, p), q = x.shape, y.shape[1]
    sums, ties_x, ties_y = (x.new_empty(shape, dtype=torch.int64) for shape in ((p, q), (p, 3), (q, 3)))
    wide = x.dtype == torch.float64
    library = _library()
    workspace = x.new_empty(library.skn_concordance_workspace(n, q, wide), dtype=torch.uint8)
    with torch.cuda.device_of(x):
        error = library.skn_concordance(
            x.data_ptr(), y.data_ptr(), wide, n, p, q, *x.stride(), *y.stride(), sums.data_ptr(), ties_x.data_ptr(),
            ties_y.data_ptr(), workspace.data_ptr(), _stream(),
        )  # fmt: skip
    torch._check(error == 0, lambda: f"kendall_tau: CUDA says {library.skn_cuda_error(error).decode()}")
    return sums, ties_x, ties_y


def _root(n: int, ties: Tensor, nan: Tensor) -> Tensor:
    """The root of the untied pairs, NaN for a column that is constant or holds a NaN."""
    untied = n * (n - 1) // 2 - ties[:, 0]
    # CUDA rounds the float64 root correctly, as the definition does.
    return untied.double().sqrt().masked_fill_((untied == 0) | nan, torch.nan)


def _quotient(concordance: Tensor, root_x: Tensor, root_y: Tensor) -> Tensor:
    """tau [p, q] float64, in the order of operations of the definition."""
    return (concordance / root_x[:, None] / root_y).clamp_(-1.0, 1.0)


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(native.CUDA_LIBRARY))
    size, pointer, flag = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32
    library.skn_concordance_workspace.argtypes = [size, size, flag]
    library.skn_concordance_workspace.restype = size
    library.skn_concordance.argtypes = [pointer, pointer, flag, *[size] * 7, *[pointer] * 5]
    library.skn_cuda_error.argtypes, library.skn_cuda_error.restype = [flag], ctypes.c_char_p
    return library
