"""The native libraries: how skn loads them, and the instruction set that the CPU kernels use.

cpuid gives the level once: ``baseline``, ``avx2``, ``avx_vnni``, ``avx512``, ``avx512_bf16`` or ``amx``. Each level
includes the levels before it, except that a machine with AVX-512 may lack ``avx_vnni``. The environment variable
``SKN_ISA`` lowers the level; a level that the machine lacks changes nothing.

If the CPU library was wanted but not built, the first CPU tensor gives one warning that says why, and how to get the
library.

A library that does not load affects only its own device. skn is still imported; ``skn doctor`` reports the library, and
so does the first use of a tensor on that device. On CUDA the report is a warning, because other kernels serve there. On
the CPU it is an error.
"""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from skn.errors import InputError, SknError

log = logging.getLogger(__name__)

LIBRARY = Path(__file__).resolve().parents[1] / "_native" / "libskn_cpu.so"
CUDA_LIBRARY = LIBRARY.with_name("libskn_cuda.so")
LEVELS = ("baseline", "avx2", "avx_vnni", "avx512", "avx512_bf16", "amx")


class NativeLoadError(SknError, RuntimeError):
    """The native library exists but cannot be loaded. The message names the file and the cause."""


_failures: dict[str, NativeLoadError] = {}  # device type → why its library does not load
_told: set[str] = set()  # device types whose missing library was reported, or needs no report


def load() -> None:
    """Register the native kernels over the defaults.

    A missing library is no error. :func:`failure` has a broken library's error.
    """
    if LIBRARY.exists():
        _load("cpu", LIBRARY, _functions)
    if CUDA_LIBRARY.exists() and torch.cuda.is_available():  # without a device, the CUDA library is not even opened
        _load("cuda", CUDA_LIBRARY)


def failure(device_type: str) -> NativeLoadError | None:
    """Return why the library for a device does not load; None if it loads, or if there is none."""
    return _failures.get(device_type)


def loaded() -> bool:
    """Whether the CPU library serves."""
    return LIBRARY.exists() and "cpu" not in _failures


def cuda_loaded() -> bool:
    """Whether the CUDA library serves: it was built, there is a device, and it loads."""
    return CUDA_LIBRARY.exists() and torch.cuda.is_available() and "cuda" not in _failures


def resident_neurons(hidden: int, device: torch.device) -> int:
    """Return how many neurons ``ffn_pruned_resident`` takes for H = ``hidden`` on a CUDA device; 0 if it does not take H."""
    return _cuda_functions().skn_resident_neurons(hidden, device.index)


def registered(op: str, device_type: str) -> bool:
    """Whether the dispatcher has any kernel over the eager definition of an operator."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"skn::{op}", torch._C._dispatch_key_for_device(device_type))


def refuse(*_) -> None:
    """The kernel of every CPU operator if the CPU library does not load: raises :class:`NativeLoadError`."""
    raise NativeLoadError(str(_failures["cpu"]))


def tell(tensor: torch.Tensor) -> None:
    """Warn at the first tensor of a device if slower kernels serve there than the user asked for."""
    device_type = tensor.device.type
    if device_type in _told:
        return
    _told.add(device_type)
    if device_type == "cuda" and "cuda" in _failures:
        log.warning("%s Until then slower kernels serve: skn doctor lists them.", _failures["cuda"])
    if device_type == "cpu" and not LIBRARY.exists() and (record := build_record()).get("wanted"):
        log.warning(
            "skn was installed without its native code, so slower kernels serve: %s. An installation with SKN_BUILD=0 does "
            "not say this.",
            record["reason"],
        )


def build_record() -> dict:
    """Return the build's record of itself: ``built``, ``wanted``, ``reason``, and how it was compiled."""
    path = LIBRARY.with_name("build.json")
    if not path.exists():
        return {"built": False, "reason": "skn was never installed: there is no build record"}
    return json.loads(path.read_text())


def isa() -> str | None:
    """Return the level in use; None without a native library. Raises :class:`InputError` for an unknown ``SKN_ISA``."""
    _check_environment()
    return _functions().skn_isa().decode() if loaded() else None


def machine_isa() -> str | None:
    """Return the highest level that processor and system allow; None without a native library."""
    return _functions().skn_machine_isa().decode() if loaded() else None


def kernel_isa(op: str) -> str | None:
    """Return the level of the kernel that serves an operator now; None if the library has no kernel for it."""
    _check_environment()
    name = _functions().skn_kernel_isa(op.encode()) if loaded() else None
    return name and name.decode()


@contextmanager
def limited_isa(level: str) -> Iterator[None]:
    """Use a lower level in the block. For tests and benchmarks only, and not while kernels run in other threads.

    Raises :class:`InputError` for a level that the machine or ``SKN_ISA`` does not allow.
    """
    before = isa()
    if before is None or not _functions().skn_limit_isa(level.encode()):
        raise InputError(f"instruction set {level}: not available here (the machine has {machine_isa()})")
    try:
        yield
    finally:
        _functions().skn_limit_isa(before.encode())


def available() -> list[str]:
    """Return the levels that can be chosen here, lowest first; empty without a native library."""
    here = isa()
    below = [] if here is None else LEVELS[: LEVELS.index(here) + 1]
    return [level for level in below if _functions().skn_allows_isa(level.encode())]


def _load(device_type: str, library: Path, use: Callable[[], object] = lambda: None) -> None:
    try:
        torch.ops.load_library(str(library))
        use()
    except (OSError, RuntimeError, AttributeError) as error:
        _failures[device_type] = NativeLoadError(
            f"skn's native library {library} cannot be loaded: {error}. Reinstall skn to build it again, "
            "or delete the file to run without it."
        )


@functools.cache
def _functions() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    for name in ("skn_isa", "skn_machine_isa", "skn_kernel_isa"):
        getattr(library, name).restype = ctypes.c_char_p
    for name in ("skn_kernel_isa", "skn_limit_isa", "skn_allows_isa"):
        getattr(library, name).argtypes = [ctypes.c_char_p]
    return library


@functools.cache
def _cuda_functions() -> ctypes.CDLL:
    library = ctypes.CDLL(str(CUDA_LIBRARY))
    library.skn_resident_neurons.argtypes = [ctypes.c_int64, ctypes.c_int]
    library.skn_resident_neurons.restype = ctypes.c_int64
    return library


def _check_environment() -> None:
    name = os.environ.get("SKN_ISA")
    if name and name not in LEVELS:
        raise InputError(f"SKN_ISA={name}: expected one of {', '.join(LEVELS)}")
