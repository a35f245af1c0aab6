"""Registers skn's kernels for CUDA over the eager definitions, where no other kernel serves an operator there."""

from collections.abc import Callable

import torch

from skn.ops import native

from . import encode


def launchers() -> dict[str, Callable]:
    """What can serve an operator on CUDA here. No Triton is fine, a mistake in the launchers is not."""
    found = {"pack": encode.pack, "encode": encode.encode}
    try:
        import triton  # noqa: F401
    except ImportError:
        return found
    from . import ffn_masked, ffn_pruned, pooling, statistics

    return found | {
        "accumulate_moments": statistics.accumulate_moments,
        "accumulate_hits": statistics.accumulate_hits,
        "pool_tokens": pooling.pool_tokens,
        "ffn_masked": ffn_masked.ffn_masked,
        "ffn_pruned": ffn_pruned.ffn_pruned,
    }


def register(library: torch.library.Library, checks: dict[str, Callable]) -> None:
    """Register what serves the operators in ``checks``, each behind its check, unless CUDA has a kernel already."""
    for op, launch in launchers().items():
        if op in checks and not native.registered(op, "cuda"):
            library.impl(op, checked(checks[op], launch), "CUDA")


def checked(check: Callable, launch: Callable) -> Callable:
    """The launcher behind the check that an operator's fake and default kernel begin with."""

    def kernel(*arguments):
        check(*arguments)
        return launch(*arguments)

    return kernel
