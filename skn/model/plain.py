"""Whether a module is what its class's name says: whoever reads its weights instead of calling it must ask."""

from __future__ import annotations

from torch import nn


def is_plain(module: nn.Module | None, kind: type) -> bool:
    """Exactly of this class, with its ``forward``, no hook of its own, and no dropout that is awake."""
    if type(module) is not kind:
        return False
    own = module.__dict__
    asleep = kind is not nn.Dropout or not own["training"] or own["p"] == 0
    return asleep and "forward" not in own and not own["_forward_hooks"] and not own["_forward_pre_hooks"]
