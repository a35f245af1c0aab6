"""The bottleneck adapter, after each FFN (Pfeiffer placement: Pfeiffer et al., EACL 2021, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

REDUCTION = 16  # bottleneck = hidden size / 16, the default of the published Pfeiffer configuration
INIT_STD = 0.02


class Adapter(nn.Module):
    """x + up(relu(down(x))) on the FFN's output [.., H], before the residual and the LayerNorm."""

    def __init__(self, hidden_size: int, bottleneck: int):
        super().__init__()
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)

    @classmethod
    def fresh(cls, hidden_size: int, bottleneck: int, generator: torch.Generator) -> Adapter:
        """The start of a training: the up-projection is zero, so that the backbone is at first what it was."""
        adapter = cls(hidden_size, bottleneck)
        nn.init.normal_(adapter.down.weight, std=INIT_STD, generator=generator)
        for zero in (adapter.down.bias, adapter.up.weight, adapter.up.bias):
            nn.init.zeros_(zero)
        return adapter

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [.., H] to hidden states [.., H]."""
        return hidden + self.up(self.down(hidden).relu())

    def behind(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The adapter as a forward hook of the layer's down-projection."""
        return self(output)


class AdaptedLinear(nn.Linear):
    """A down-projection [.., width] to [.., H] with an adapter behind it.

    The model registers the adapter, under a name of its own choice. Here it lies in a tuple, where no second name is made
    of it, and where a deep copy or a pickle of the whole model finds the copy's own adapter.
    """

    def __init__(self, width: int, hidden_size: int, adapter: Adapter):
        super().__init__(width, hidden_size)
        self.adapters_behind = (adapter,)

    def forward(self, activation: Tensor) -> Tensor:
        """Activations [.., width] to hidden states [.., H]."""
        return self.adapters_behind[0](super().forward(activation))


def bottleneck_of(hidden_size: int) -> int:
    """The default bottleneck of a backbone."""
    return max(1, hidden_size // REDUCTION)
