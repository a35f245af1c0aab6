"""The bottleneck adapter, after each FFN (Pfeiffer placement: Pfeiffer et al., EACL 2021, section 3)."""

from __future__ import annotations

from torch import Tensor, nn

REDUCTION = 16  # bottleneck = hidden size / 16, the default of the published Pfeiffer configuration


class Adapter(nn.Module):
    """x + up(relu(down(x))) on the FFN's output [.., H], before the residual and the LayerNorm."""

    def __init__(self, hidden_size: int, bottleneck: int):
        super().__init__()
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.up(self.down(hidden).relu())

    def attach(self, down_projection: nn.Module) -> None:
        """Insert behind a layer's down-projection."""
        down_projection.register_forward_hook(lambda _module, _inputs, output: self(output))


def bottleneck_of(hidden_size: int) -> int:
    """The default bottleneck of a backbone."""
    return max(1, hidden_size // REDUCTION)
