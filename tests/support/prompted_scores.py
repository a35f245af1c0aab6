"""The class scores of a small batch under an untrained prompt."""

from __future__ import annotations

import torch

from skn.model.backbone import Backbone
from skn.model.tuned import TunedModel


@torch.no_grad()
def scores(backbone: Backbone) -> torch.Tensor:
    model = TunedModel.fresh(backbone, [11, 12], 4, 5)
    ids = torch.randint(10, 300, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return model(ids, mask)["logits"]
