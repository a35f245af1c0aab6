"""``ffn_pruned`` for few neurons: the kernel of csrc/cuda/ffn_pruned.cu, and the choice between this kernel and others.

The kernel keeps both weights in shared memory, so it reads the rows once and the weights once for each multiprocessor.
It takes bfloat16 alone: float32 weights would need twice the memory, and exact float32 products have no tensor cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from skn.ops import native, reference


@functools.cache
def most_neurons(hidden: int, device: torch.device) -> int:
    """Return how many neurons the kernel takes on a device; 0 if it does not take this H, or was not built.

    On an H100, 64 for H up to 768, and 48 for H up to 1,024. H must be a multiple of 8.
    """
    return native.resident_neurons(hidden, device) if native.cuda_loaded() else 0


def fits(x: Tensor, neurons: int) -> bool:
    """Whether the kernel takes these rows with so many neurons."""
    return x.dtype == torch.bfloat16 and 0 < neurons <= most_neurons(x.shape[-1], x.device)


def one_kernel(*arguments: Tensor | float) -> Tensor:
    """Compute :func:`skn.ops.ffn.ffn_pruned` with the kernel. Strided arguments are copied first.

    The engine's ``w_out``, the transpose of a contiguous ``[k, H]``, is not copied.
    """
    return torch.ops.skn.ffn_pruned_resident(*arguments)


@torch.no_grad()
def eager(*arguments: Tensor | float) -> Tensor:
    return reference.ffn_pruned(*arguments)


def before(other: Callable) -> Callable:
    """Return ``ffn_pruned`` with this kernel where it fits, and else with ``other``."""

    def ffn_pruned(x: Tensor, w_in: Tensor, b_in: Tensor, *rest: Tensor | float) -> Tensor:
        return (one_kernel if fits(x, b_in.shape[0]) else other)(x, w_in, b_in, *rest)

    return ffn_pruned
