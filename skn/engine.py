"""The inference forward that probe, activate, mask and evaluate share.

Batches are formed by length and results come back in the data set's order. One pass visits every batch of a split;
whoever needs more than the logits hangs taps or masks on the backbone's FFN sites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from skn.backbone import Backbone, PromptedBatch
from skn.batches import Batch, Encoded, batches_by_length
from skn.progress import track


@runtime_checkable
class PromptedModel(Protocol):
    """A backbone with prompt and label words: a tuned model or a pruned one."""

    label_ids: Tensor

    @property
    def backbone(self) -> Backbone: ...

    @property
    def prompt_length(self) -> int: ...

    def assemble(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> PromptedBatch:
        """Texts with the prompt in place."""


# Called before the forward of a batch, so that taps know which rows and positions pass by.
Prepare = Callable[[Batch, PromptedBatch], None]


@torch.inference_mode()
def predict(
    model: PromptedModel,
    encoded: Encoded,
    batch_size: int,
    description: str = "evaluate",
    prepare: Prepare | None = None,
) -> Tensor:
    """Class scores [N, C] float32 of a split, on the CPU, in the split's order."""
    backbone = model.backbone
    logits = torch.empty(len(encoded), model.label_ids.numel())
    total = -(-len(encoded) // batch_size)
    for batch in track(batches_by_length(encoded, batch_size), total, description):
        batch = batch.to(backbone.device)
        prompted = model.assemble(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        if prepare is not None:
            prepare(batch, prompted)
        logits[batch.rows.cpu()] = backbone.scores(prompted, model.label_ids).float().cpu()
    return logits


def accuracy(logits: Tensor, label: Tensor) -> float:
    """The share of rows whose highest score is the label's."""
    return (logits.argmax(dim=1) == label).double().mean().item()


def auc(logits: Tensor, label: Tensor) -> float | None:
    """Area under the ROC curve, each class against the rest, averaged over the classes; None where one class is all.

    A class is scored by its logit minus the mean of the others', and only the order of the scores counts: a constant
    added to a class's logit over all rows, which can move accuracy to that of a coin, leaves the area as it is.
    Ties count half (Mann–Whitney).
    """
    logits = logits.double()
    classes = logits.shape[1]
    margin = (classes * logits - logits.sum(dim=1, keepdim=True)).numpy()  # times C − 1: no quotient, so ties stay ties
    areas = []
    for c in range(classes):
        positive = (label == c).numpy()
        count = int(positive.sum())
        if 0 < count < len(label):
            above = rankdata(margin[:, c])[positive].sum() - count * (count + 1) / 2
            areas.append(above / (count * (len(label) - count)))
    return float(np.mean(areas)) if areas else None
