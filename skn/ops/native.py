"""The native libraries: loading them, and the instruction set the CPU kernels use.

The level is found once, by cpuid: ``baseline``, ``avx2``, ``avx512``, ``avx512_bf16`` or ``amx``, each with everything of
those before it. The environment variable ``SKN_ISA`` lowers it; a level that the machine lacks changes nothing.

Where no CPU library was built although one was wanted, the first CPU tensor brings one warning that says why and how to have it.

A library that does not load costs its own device and nothing else: importing skn goes on, ``skn doctor`` says it, and so does
the first use of a tensor of that device. On CUDA that is a warning, because others serve there; on the CPU it is an error.
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
LEVELS = ("baseline", "avx2", "avx512", "avx512_bf16", "amx")


class NativeLoadError(SknError, RuntimeError):
    """The native library is there but cannot be loaded; the message names the file and the cause."""


_failures: dict[str, NativeLoadError] = {}  # device type → why its library does not load
_told: set[str] = set()  # device types whose missing library was warned of, or needs no warning


def load() -> None:
    """Register the native kernels over the defaults. No library is fine; of a broken one :func:`failure` has the error."""
    if LIBRARY.exists():
        _load("cpu", LIBRARY, _functions)
    if CUDA_LIBRARY.exists() and torch.cuda.is_available():  # without a device it is not even opened
        _load("cuda", CUDA_LIBRARY)


def failure(device_type: str) -> NativeLoadError | None:
    """Why the library for a device does not load; None if it does, or if there is none to load."""
    return _failures.get(device_type)


def loaded() -> bool:
    """Whether the CPU library serves."""
    return LIBRARY.exists() and "cpu" not in _failures


def cuda_loaded() -> bool:
    """Whether the CUDA library serves: it was built, there is a device, and it loads."""
    return CUDA_LIBRARY.exists() and torch.cuda.is_available() and "cuda" not in _failures


def registered(op: str, device_type: str) -> bool:
    """Whether the dispatcher has a kernel over the eager definition of an operator, whoever registered it."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"skn::{op}", torch._C._dispatch_key_for_device(device_type))


def refuse(*_) -> None:
    """The kernel of every operator on the CPU if its library does not load: raises :class:`NativeLoadError`."""
    raise NativeLoadError(str(_failures["cpu"]))


def tell(tensor: torch.Tensor) -> None:
    """Warn once, when the first tensor of a device comes, that slower kernels serve there than were asked for."""
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
    """What the build wrote about itself: ``built``, ``wanted``, ``reason``, and how it was compiled."""
    path = LIBRARY.with_name("build.json")
    if not path.exists():
        return {"built": False, "reason": "skn was never installed: there is no build record"}
    return json.loads(path.read_text())


def isa() -> str | None:
    """The level in use; None without a native library. Raises :class:`InputError` for an unknown ``SKN_ISA``."""
    _check_environment()
    return _functions().skn_isa().decode() if loaded() else None


def machine_isa() -> str | None:
    """The widest level that processor and system allow; None without a native library."""
    return _functions().skn_machine_isa().decode() if loaded() else None


def kernel_isa(op: str) -> str | None:
    """The level whose kernel serves an operator now; None if the library has none for it."""
    _check_environment()
    name = _functions().skn_kernel_isa(op.encode()) if loaded() else None
    return name and name.decode()


@contextmanager
def limited_isa(level: str) -> Iterator[None]:
    """Run at a lower level for a while: for tests and benchmarks, and not while kernels run in other threads.

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
    """The levels that can be chosen here, narrowest first; empty without a native library."""
    here = isa()
    return [] if here is None else list(LEVELS[: LEVELS.index(here) + 1])


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
    library.skn_kernel_isa.argtypes = library.skn_limit_isa.argtypes = [ctypes.c_char_p]
    return library


def _check_environment() -> None:
    name = os.environ.get("SKN_ISA")
    if name and name not in LEVELS:
        raise InputError(f"SKN_ISA={name}: expected one of {', '.join(LEVELS)}")
