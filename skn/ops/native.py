"""The native libraries: loading them, and the instruction set the CPU kernels use.

The level is found once, by cpuid: ``baseline``, ``avx2``, ``avx512``, ``avx512_bf16`` or ``amx``, each with everything of
those before it. The environment variable ``SKN_ISA`` lowers it; a level that the machine lacks changes nothing.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from skn.errors import InputError

LIBRARY = Path(__file__).resolve().parents[1] / "_native" / "libskn_cpu.so"
CUDA_LIBRARY = LIBRARY.with_name("libskn_cuda.so")
LEVELS = ("baseline", "avx2", "avx512", "avx512_bf16", "amx")


class NativeLoadError(RuntimeError):
    """The native library is there but cannot be loaded; the message names the file and the cause."""


def load() -> None:
    """Register the native kernels over the defaults. No library is fine, a broken one is not."""
    if LIBRARY.exists():
        _load(LIBRARY, _functions)
    if cuda_loaded():
        _load(CUDA_LIBRARY)


def cuda_loaded() -> bool:
    """Whether the CUDA library serves: it was built, and there is a device. Without one it is not even opened."""
    return CUDA_LIBRARY.exists() and torch.cuda.is_available()


def isa() -> str | None:
    """The level in use; None without a native library. Raises :class:`InputError` for an unknown ``SKN_ISA``."""
    _check_environment()
    return _functions().skn_isa().decode() if LIBRARY.exists() else None


def machine_isa() -> str | None:
    """The widest level that processor and system allow; None without a native library."""
    return _functions().skn_machine_isa().decode() if LIBRARY.exists() else None


def kernel_isa(op: str) -> str | None:
    """The level whose kernel serves an operator now; None if the library has none for it."""
    _check_environment()
    name = _functions().skn_kernel_isa(op.encode()) if LIBRARY.exists() else None
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


def _load(library: Path, use: Callable[[], object] = lambda: None) -> None:
    try:
        torch.ops.load_library(str(library))
        use()
    except (OSError, RuntimeError, AttributeError) as error:
        raise NativeLoadError(
            f"skn's native library {library} cannot be loaded: {error}. Reinstall skn to build it again, "
            "or delete the file to run on the eager definitions."
        ) from error


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
