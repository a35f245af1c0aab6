"""The losses of one training or several, in one forward of the backbone that their prompts share.

A row's class scores depend on its own prompt and text alone. So the sum of the losses gives each prompt exactly the
gradient of its own loss, and a loss of NaN stays in its own training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from skn.model.prompted import PromptedBatch
from skn.model.tuned import TunedModel
from skn.training.scored_position import differentiable_hidden


@dataclass(frozen=True)
class Part:
    """The part of one training in a step: its model and its batch.

    :param input_ids: [B, T] int64, padded on the right, as ``attention_mask`` [B, T] says.
    :param labels: [B] int64.
    :param autocast: whether the backbone computes its products in bfloat16.
    """

    model: TunedModel
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    token_type_ids: Tensor | None = None
    autocast: bool = False

    def assembled(self, columns: int) -> PromptedBatch:
        """Return the batch with its prompt, its texts padded to so many columns."""

        def wide(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else F.pad(tensor, (0, columns - tensor.shape[1]))

        return self.model.assemble(*map(wide, (self.input_ids, self.attention_mask, self.token_type_ids)))

    def loss(self, hidden: Tensor) -> Tensor:
        """Return the mean cross-entropy [] of the rows, from the last hidden states [B, H] of their scored positions."""
        scores = self.model.backbone.word_scores(hidden, self.model.label_ids)
        return F.cross_entropy(scores.float(), self.labels)


def losses(parts: Sequence[Part]) -> list[Tensor]:
    """Return the loss [] of each part, with gradients, from one forward of all rows.

    The models share a backbone, and have prompts of one length; all parts have the same ``autocast``. The loss is that of
    :meth:`TunedModel.forward`, without the positions of the last layer that no score needs.
    """
    columns, backbone = max(part.input_ids.shape[1] for part in parts), parts[0].model.backbone
    # The setting decides, not the caller's autocast. Nothing is cached, because torch caches casts of tuned weights alone.
    with torch.autocast(backbone.device.type, torch.bfloat16, parts[0].autocast, cache_enabled=False):
        batch = _stacked([part.assembled(columns) for part in parts])
        hidden = differentiable_hidden(backbone, batch)
        own = hidden.split([len(part.labels) for part in parts])
        return [part.loss(rows) for part, rows in zip(parts, own, strict=True)]


def _stacked(batches: Sequence[PromptedBatch]) -> PromptedBatch:
    """Put the rows of batches of one width, whose prompts stand in the same columns, into one batch."""

    def rows(name: str) -> Tensor | None:
        columns = [getattr(batch, name) for batch in batches]
        return None if columns[0] is None else torch.cat(columns)

    return replace(
        batches[0],
        inputs_embeds=rows("inputs_embeds"),
        attention_mask=rows("attention_mask"),
        position_ids=rows("position_ids"),
        token_type_ids=rows("token_type_ids"),
    )
