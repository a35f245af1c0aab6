"""Check that a module computes what its class computes.

Code that reads a module's weights instead of calling it must check this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

# When hidden states are first asked for, transformers puts hooks of this module on a model and leaves them there. The
# hooks change nothing, and keep something only in a call that asks for hidden states again.
_IDLE = "transformers.utils.output_capturing"


def is_plain(module: nn.Module | None, kind: type) -> bool:
    """Whether a module has exactly this class, the class's ``forward``, no hook of its own, and no active dropout."""
    if type(module) is not kind:
        return False
    own = module.__dict__
    asleep = kind is not nn.Dropout or not own["training"] or own["p"] == 0
    hooks = own["_forward_hooks"]
    return asleep and "forward" not in own and not own["_forward_pre_hooks"] and not (hooks and is_hooked(hooks))


def is_hooked(hooks: Mapping[int, Callable]) -> bool:
    """Whether any forward hook has an effect."""
    return bool(hooks) and any(getattr(hook, "__module__", None) != _IDLE for hook in hooks.values())
