"""The device of the cases in this folder: Triton's interpreter on the CPU, or a CUDA device.

``TRITON_INTERPRET=1`` chooses the interpreter before Triton is imported, so ``tests/kernels/test_triton.py`` runs the
files in a process of their own. pytest does not collect the files by themselves: a process without the variable and
without a device could not run them.
"""

import os

import numpy as np
import pytest
import torch
import triton
from skn.kernels import register
from statistics_cases import draw_values

from skn.ops import ffn

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"


def _let_numpy_count() -> None:
    """Triton before 3.9 turns one-element arrays into loop bounds in a way that NumPy 2.4 refuses."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patched(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(np.squeeze(self.handle.data)))

    interpreter._patch_lang_tensor = patched


if INTERPRETED and tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 9):
    _let_numpy_count()


def on_device(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Move the tensors to the cases' device with their strides: copy the storage, not the view.

    On the CPU, the result is the storage itself, by the same code, so that the interpreter's cases test this code.
    """
    return [
        torch.empty(0, dtype=t.dtype, device=DEVICE).set_(
            t.untyped_storage().to(device=DEVICE), t.storage_offset(), t.shape, t.stride()
        )
        for t in tensors
    ]


def draw_readable(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return numbers with NaN, infinities and subnormals among them.

    The interpreter misreads these as bfloat16, so there bfloat16 has ordinary numbers alone.
    """
    if INTERPRETED and dtype == torch.bfloat16:
        return torch.from_numpy(rng.normal(size=shape)).to(dtype)
    return draw_values(rng, shape, dtype)


@pytest.fixture
def bound():
    """The operators as CUDA serves them: on the Triton launchers, with the interpreter on the CPU."""
    if not INTERPRETED:
        yield
        return
    checks = ffn.CHECKS
    with torch.library._scoped_library("skn", "IMPL") as library:
        for op, check in checks.items():
            library.impl(op, register.checked(check, register.launchers()[op]), "CPU", allow_override=True)
        yield
