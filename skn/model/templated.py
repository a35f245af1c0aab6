"""A backbone that answers by a template: nothing is tuned, and the label words are scored at the mask or as next words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skn.model.backbone import Backbone
from skn.model.prompted import PromptedBatch

METHOD = "template"


class TemplatedModel(nn.Module):
    """Class scores [B, C] of texts that stand inside a template already (:func:`skn.inference.batches.tokenize`).

    :param label_ids: [C] int64, the token of each class's label word.
    """

    prompt_length = 0  # no position beside the text's and the template's own tokens

    def __init__(self, backbone: Backbone, label_ids: Sequence[int] | Tensor):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("label_ids", torch.as_tensor(label_ids, dtype=torch.int64).clone())
        self.to(backbone.device)

    def assemble(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, scored: Tensor
    ) -> PromptedBatch:
        """Embed a batch of texts [B, T]. ``scored`` [B] int64 on the CPU is the scored position of each text."""
        return self.backbone.embed(input_ids, attention_mask, token_type_ids, scored)

    def tuned_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a ``tuned`` artifact stores: the label words."""
        return {"label_ids": self.label_ids.detach().cpu().clone()}
