"""Registers the Triton kernels for CUDA over the eager definitions, where no other kernel serves an operator there."""

from collections.abc import Callable

import torch

from . import pooling, statistics

LAUNCHERS = {
    "accumulate_moments": statistics.accumulate_moments,
    "accumulate_hits": statistics.accumulate_hits,
    "pool_tokens": pooling.pool_tokens,
}


def register(library: torch.library.Library, checks: dict[str, Callable]) -> None:
    """Register every launcher that has no CUDA kernel yet; ``checks`` are those of ``skn.ops``, by operator."""
    for op, launch in LAUNCHERS.items():
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"skn::{op}", "CUDA"):
            library.impl(op, _checked(checks[op], launch), "CUDA")


def _checked(check: Callable, launch: Callable) -> Callable:
    def kernel(*arguments):
        check(*arguments)
        return launch(*arguments)

    return kernel
