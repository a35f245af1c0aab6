"""The bottleneck adapter, after each FFN (Pfeiffer placement: Pfeiffer et al., EACL 2021, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skn.model.portable.layers_skn import Adapter

REDUCTION = 16  # bottleneck = hidden size / 16, the default of the published Pfeiffer configuration
INIT_STD = 0.02


class TunedAdapter(Adapter):
    """An adapter during tuning: its start, and its place behind a layer of a backbone."""

    @classmethod
    def fresh(cls, hidden_size: int, bottleneck: int, generator: torch.Generator) -> TunedAdapter:
        """Return an adapter at the start of a training.

        Its up-projection is zero, so the backbone's output is unchanged at first.
        """
        adapter = cls(hidden_size, bottleneck)
        nn.init.normal_(adapter.down.weight, std=INIT_STD, generator=generator)
        for zero in (adapter.down.bias, adapter.up.weight, adapter.up.bias):
            nn.init.zeros_(zero)
        return adapter

    def behind(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The adapter as a forward hook on the layer's down-projection."""
        return self(output)


def bottleneck_of(hidden_size: int) -> int:
    """Return the default bottleneck of a backbone."""
    return max(1, hidden_size // REDUCTION)
