"""Where the cases of this folder run: under Triton's interpreter on the CPU, or on a CUDA device.

The interpreter is chosen by ``TRITON_INTERPRET=1`` before Triton is imported, so ``tests/kernels/test_triton.py`` runs each file
in a process of its own. Not collected by themselves: a process without the variable and without a device has
nothing to run them on.
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
    """The tensors on the device of the cases, strides kept: a copy of the storage and not of the view.

    On the CPU it is the storage itself, on the same way, so that the interpreter's cases try it.
    """
    return [
        torch.empty(0, dtype=t.dtype, device=DEVICE).set_(
            t.untyped_storage().to(device=DEVICE), t.storage_offset(), t.shape, t.stride()
        )
        for t in tensors
    ]


def draw_readable(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Numbers with NaN, infinities and subnormals among them, but for the interpreter, which misreads those as bfloat16."""
    if INTERPRETED and dtype == torch.bfloat16:
        return torch.from_numpy(rng.normal(size=shape)).to(dtype)
    return draw_values(rng, shape, dtype)


@pytest.fixture
def bound():
    """The operators as CUDA serves them: on the Triton launchers, and for the interpreter on the CPU."""
    if not INTERPRETED:
        yield
        return
    checks = ffn.CHECKS
    with torch.library._scoped_library("skn", "IMPL") as library:
        for op, check in checks.items():
            library.impl(op, register.checked(check, register.launchers()[op]), "CPU", allow_override=True)
        yield
