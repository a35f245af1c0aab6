"""torch.compile with frozen weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

OPTIONS = {"freezing": True}


def compiled(call: Callable[[], object]) -> Callable[[], object]:
    """Return ``call`` compiled. It closes over its inputs, so all shapes are static."""
    torch._dynamo.reset()
    return torch.compile(call, options=OPTIONS)
