"""Register skn's CUDA kernels over the eager definitions, for operators that no other CUDA kernel serves."""

from collections.abc import Callable

import torch

from skn.ops import native

from . import encode, ffn_resident
from .optional import triton_here


def launchers() -> dict[str, Callable]:
    """Return the functions that can serve operators on CUDA here.

    Triton may be missing; an error in the launchers is raised.
    """
    found = {"pack": encode.pack, "encode": encode.encode, **triton_launchers()}
    if native.cuda_loaded():
        found["ffn_pruned"] = ffn_resident.before(found.get("ffn_pruned", ffn_resident.eager))
    return found


def triton_launchers() -> dict[str, Callable]:
    if not triton_here():
        return {}
    from . import ffn_masked, ffn_pruned, pooling, statistics

    return {
        "accumulate_moments": statistics.accumulate_moments,
        "accumulate_hits": statistics.accumulate_hits,
        "pool_tokens": pooling.pool_tokens,
        "ffn_masked": ffn_masked.ffn_masked,
        "ffn_pruned": ffn_pruned.ffn_pruned,
    }


def register(library: torch.library.Library, checks: dict[str, Callable]) -> None:
    """Register the functions for the operators in ``checks``, each after its check, unless CUDA has a kernel already."""
    for op, launch in launchers().items():
        if op in checks and not native.registered(op, "cuda"):
            library.impl(op, checked(checks[op], launch), "CUDA")


def checked(check: Callable, launch: Callable) -> Callable:
    """Return the launcher with the check of the operator's fake and default kernel before it."""

    def kernel(*arguments):
        check(*arguments)
        return launch(*arguments)

    return kernel
