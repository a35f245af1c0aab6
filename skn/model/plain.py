"""Whether a module is what its class's name says: whoever reads its weights instead of calling it must ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

# transformers hangs hooks of this module on a model when its hidden states are first asked for, and leaves them there. They
# change nothing, and keep something only in a call that asks again.
_IDLE = "transformers.utils.output_capturing"


def is_plain(module: nn.Module | None, kind: type) -> bool:
    """Exactly of this class, with its ``forward``, no hook of its own, and no dropout that is awake."""
    if type(module) is not kind:
        return False
    own = module.__dict__
    asleep = kind is not nn.Dropout or not own["training"] or own["p"] == 0
    return asleep and "forward" not in own and not is_hooked(own["_forward_hooks"]) and not own["_forward_pre_hooks"]


def is_hooked(hooks: Mapping[int, Callable]) -> bool:
    """Whether a forward hook is there that does something."""
    return bool(hooks) and any(getattr(hook, "__module__", None) != _IDLE for hook in hooks.values())
