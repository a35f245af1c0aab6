"""What class scores are worth: accuracy with its interval, the area under the ROC curve, and what guessing reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from torch import Tensor

from skn.intervals import share_interval


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


def majority(label: Tensor) -> float:
    """The share of the most frequent class: the accuracy of whoever always says it."""
    return label.bincount().max().item() / len(label)


@dataclass(frozen=True)
class Score:
    """How well scores tell the classes apart: accuracy with its 95% interval, and AUC where there is more than one class."""

    accuracy: float
    interval: tuple[float, float]
    auc: float | None

    @classmethod
    def of(cls, logits: Tensor, label: Tensor) -> Score:
        """From class scores [N, C] and labels [N]."""
        share = accuracy(logits, label)
        return cls(share, share_interval(share, len(label)), auc(logits, label))

    def beats(self, share: float) -> bool:
        """Whether the whole interval lies above what guessing reaches."""
        return self.interval[0] > share
