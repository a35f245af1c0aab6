"""Measures of class scores: accuracy with its interval, the area under the ROC curve, and the accuracy of guessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from torch import Tensor

from skn.intervals import share_interval


def accuracy(logits: Tensor, label: Tensor) -> float:
    """The share of rows whose highest score is at their label."""
    return (logits.argmax(dim=1) == label).double().mean().item()


def auc(logits: Tensor, label: Tensor) -> float | None:
    """Area under the ROC curve, each class against the rest, averaged over the classes; None if there is only one
    class.

    A class's score is its logit minus the mean of the other logits, and only the order of the scores counts. A constant
    added to a class's logit in all rows can move accuracy to that of a coin, but leaves the area as it is. Ties count
    half (Mann–Whitney).
    """
    logits = logits.double()
    classes = logits.shape[1]
    # times C − 1, because without a division ties stay ties
    margin = (classes * logits - logits.sum(dim=1, keepdim=True)).numpy()
    areas = []
    for c in range(classes):
        positive = (label == c).numpy()
        count = int(positive.sum())
        if 0 < count < len(label):
            above = rankdata(margin[:, c])[positive].sum() - count * (count + 1) / 2
            areas.append(above / (count * (len(label) - count)))
    return float(np.mean(areas)) if areas else None


def majority(label: Tensor) -> float:
    """The share of the most frequent class. A model that always gives this class has this share as its accuracy."""
    return label.bincount().max().item() / len(label)


@dataclass(frozen=True)
class Score:
    """How well scores tell the classes apart: accuracy with its 95% interval, and AUC if there is more than one class."""

    accuracy: float
    interval: tuple[float, float]
    auc: float | None

    @classmethod
    def of(cls, logits: Tensor, label: Tensor) -> Score:
        """Compute the score from class scores [N, C] and labels [N]."""
        share = accuracy(logits, label)
        return cls(share, share_interval(share, len(label)), auc(logits, label))

    def beats(self, share: float) -> bool:
        """Whether the whole interval lies above the accuracy of guessing."""
        return self.interval[0] > share
