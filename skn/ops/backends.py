"""The table of which implementation serves which operator on which device."""

import platform
from pathlib import Path

import torch

from skn import ops  # noqa: F401  (registers what is asked about here)
from skn.ops import native  # noqa: F401  (registers what is asked about here)

EAGER = "eager"
BROKEN = "none: the native library cannot be loaded"
CPP = "c++"
CUDA = "cuda c++"
TRITON = "triton"
TORCH = "torch, packed"  # torch's own products and attention, without padding, combined with operators of skn

# operator -> device type -> the implementations that register over the eager definition there; the first that can
# register serves. The eager definition serves a device without an entry.
TABLE = {
    "accumulate_moments": {"cpu": (CPP,), "cuda": (CUDA, TRITON)},
    "accumulate_hits": {"cpu": (CPP,), "cuda": (CUDA, TRITON)},
    "pool_tokens": {"cpu": (CPP,), "cuda": (TRITON,)},
    "pack": {"cpu": (CPP,), "cuda": (TORCH,)},
    "pack_int8": {"cpu": (CPP,)},
    "encode": {"cpu": (CPP,), "cuda": (TORCH,)},
    "ffn_masked": {"cpu": (CPP,), "cuda": (TRITON,)},
    "ffn_pruned": {"cpu": (CPP,), "cuda": (CUDA, TRITON)},  # of CUDA, see kernels/ffn_resident.py
    "kendall_tau": {"cpu": (CPP,), "cuda": (CUDA,)},
    "digest": {"cpu": (CPP,)},
    "permuted_hits": {"cpu": (CPP,), "cuda": (CUDA,)},
    "auroc": {"cpu": (CPP,)},
}


def implementation(op: str, device: str | torch.device) -> str:
    """Return what serves an operator on a device now, for example ``"c++ (avx512)"`` or ``"eager"``.

    The answer comes from PyTorch's dispatcher, not from the table alone.

    Raises:
        KeyError: there is no such operator.
    """
    device_type = torch.device(device).type
    if device_type == "cpu" and native.failure("cpu"):
        return BROKEN
    if not has_kernel(op, device_type):
        return EAGER
    candidates = TABLE[op][device_type]
    if device_type == "cpu":
        return f"{candidates[0]} ({native.kernel_isa(op)})"
    return CUDA if CUDA in candidates and native.cuda_loaded() else candidates[-1]


def has_kernel(op: str, device_type: str) -> bool:
    """Whether a device has a kernel for an operator, and not the eager definition alone. A library that does not load
    counts, because its operators raise an error.
    """
    return device_type in TABLE[op] and native.registered(op, device_type)


def native_library() -> Path | None:
    """The native library that ``skn.ops`` has loaded, or None."""
    return native.LIBRARY if native.loaded() else None


def cpu_features() -> list[str]:
    """Return the instruction sets of this processor that matter here; empty if the system does not tell them."""
    wanted = ("sse2", "avx", "fma", "f16c", "amx", "neon", "asimd", "sve", "bf16")  # beginnings of names
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        # AArch64 always has its vector unit. On other processors, nothing is known without reading the processor's
        # features.
        return ["asimd"] if platform.machine().lower() in ("arm64", "aarch64") else []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            return sorted({flag for flag in value.split() if flag.startswith(wanted)})
    return []
