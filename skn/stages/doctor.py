"""``skn doctor``: show the native build, versions, devices, and which kernel serves which operator."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import skn
from skn.console import print_table, tell
from skn.ops import backends, native

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "safetensors", "numpy", "scipy", "triton")


def doctor() -> None:
    """Print the state of this installation, the native build first."""
    record = native.build_record()
    state = "built" if record["built"] else "not built"
    tell(f"native code: {state} – {record['reason']}")
    serving = native.failure("cpu") or backends.native_library() or "none: the eager definitions serve"
    tell(f"native library: {serving}")
    tell(f"CUDA library: {_cuda_library(record)}")
    versions = [["skn", skn.__version__], ["python", platform.python_version()]]
    versions += [[name, _version(name)] for name in LIBRARIES]
    print_table("Versions", ["package", "version"], versions)
    print_table("Devices", ["device", "what"], [["cpu", _cpu()], ["cuda", _cuda()]])
    tell(f"instruction set: {_isa()}")
    tell(f"processor features: {' '.join(backends.cpu_features()) or 'unknown'}")
    rows = [[op, *(_serves(op, device) for device in ("cpu", "cuda"))] for op in backends.TABLE]
    print_table("Operators", ["operator", "cpu", "cuda"], rows)


def _cuda_library(record: dict) -> str:
    if native.failure("cuda") or native.cuda_loaded():
        return str(native.failure("cuda") or native.CUDA_LIBRARY)
    # A build record from before the CUDA library has no line for it.
    return f"{record.get('cuda', 'not built')}{', no device' if native.CUDA_LIBRARY.exists() else ''}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    return f"{platform.machine()}, {torch.get_num_threads()} threads for torch"


def _isa() -> str:
    used, machine = native.isa(), native.machine_isa()
    if used is None:
        return "that of torch (no native library)"
    return used if used == machine else f"{used} (the machine has {machine}; SKN_ISA lowers it)"


def _cuda() -> str:
    if not torch.cuda.is_available():
        return "none"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _serves(op: str, device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        return "no device"
    return backends.implementation(op, device)
