"""Whether a module is what its class's name says: whoever reads its weights instead of calling it must ask."""

from __future__ import annotations

import torch
from torch import nn


def is_plain(module: nn.Module | None, kind: type) -> bool:
    """Exactly of this class, with its ``forward``, no hook of its own, and no dropout that is awake."""
    if type(module) is not kind:
        return False
    own = module.__dict__
    asleep = kind is not nn.Dropout or not own["training"] or own["p"] == 0
    return asleep and "forward" not in own and not own["_forward_hooks"] and not own["_forward_pre_hooks"]


def odd_parameter(tensor: object) -> str | None:
    """Why this is no dense parameter with its memory in place, in words; None where it is one."""
    if type(tensor) is not nn.Parameter:
        return "absent" if tensor is None else f"a {type(tensor).__name__}, no plain parameter"
    if tensor.layout is not torch.strided:
        return f"{str(tensor.layout).removeprefix('torch.')}, not dense"
    if tensor.untyped_storage().nbytes() < tensor.nbytes:
        return "its memory was freed"
    return None
