"""What class scores are worth: accuracy, and the area under the ROC curve."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from torch import Tensor


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
