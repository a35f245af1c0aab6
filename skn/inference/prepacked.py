"""The encoders whose users promised to change nothing by stealth, and their packed weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from skn.model.backbone import Backbone


@dataclass(frozen=True)
class Prepacked:
    """Packed weights, and how the model was when their packing began.

    ``plain`` are the weights that count their edits; tensors of inference mode do not. ``edits`` is the sum of these
    counts, which only grow.
    """

    state: tuple
    plain: list[Tensor]
    edits: int
    weights: list[Tensor]

    def holds(self, backbone: Backbone) -> bool:
        """Whether the model is still as it was."""
        return self.state == state_of(backbone) and self.edits == edits_of(self.plain)


class Suspended:
    """In the place of packed weights while calls look at everything."""


# Encoder of a prepacked model → its weights; None where the next call packs them again.
prepacked: WeakKeyDictionary[nn.Module, Prepacked | Suspended | None] = WeakKeyDictionary()


def changed(encoder: nn.Module) -> None:
    """Let the next call of a prepacked model pack its weights again."""
    if encoder in prepacked:
        prepacked[encoder] = None


def release(encoder: nn.Module) -> None:
    """Let every call look at all modules and weights again."""
    prepacked.pop(encoder, None)


@contextmanager
def suspended(encoder: nn.Module) -> Iterator[None]:
    """Within this context, calls look at all modules and weights. What ends the promise meanwhile ends it for good."""
    known, mine = prepacked.get(encoder), Suspended()
    if encoder in prepacked:
        prepacked[encoder] = mine
    try:
        yield
    finally:
        if prepacked.get(encoder) is mine:
            prepacked[encoder] = known


def edits_of(tensors: list[Tensor]) -> int:
    """How often torch has counted an edit of these tensors."""
    return sum(tensor._version for tensor in tensors)


def state_of(backbone: Backbone) -> tuple:
    """What a cast or a move of the model changes, and an assignment to ``bf16x3``."""
    return backbone.bf16x3, backbone.dtype, backbone.device
