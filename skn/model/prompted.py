"""A batch as a model reads it: the texts with the prompt or template in place, and the positions of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skn.model.portable.layers_skn import EncoderInputs


@dataclass(frozen=True)
class PromptedBatch(EncoderInputs):
    """A batch with the prompt in place: the encoder's inputs, and the places of prompt and texts.

    ``prompt`` is the slice of the P prompt positions; None for a template. ``scored`` is the scored position of all
    examples, or [B] int64 on the CPU. ``text_start`` is the column at which every example's tokens begin; None if they
    end before the prompt.
    """

    prompt: slice | None
    scored: int | Tensor
    text_start: int | None

    def at_scored(self, hidden: Tensor) -> Tensor:
        """Return [B, H] of hidden states [B, S, H]: those of the scored position."""
        if isinstance(self.scored, int):
            return hidden[:, self.scored]
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[rows, self.scored.to(hidden.device, non_blocking=True)]
