"""Find the examples on which a neuron is most active and least active."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Extremes:
    """Indices of examples: ``highest`` begins with the most active example, ``lowest`` with the least active example."""

    highest: list[int]
    lowest: list[int]


def extremes(activation: Tensor, count: int) -> Extremes:
    """Find the ``count`` highest and the ``count`` lowest of activations [N].

    Of equal activations, the one that comes first wins. NaN is never among them. No example is in both lists, even if
    there are few examples or few different activations.
    """
    known = (~activation.isnan()).nonzero()[:, 0]
    order = known[activation[known].double().argsort(stable=True)]
    descending = known[(-activation[known].double()).argsort(stable=True)]
    high = min(count, (len(known) + 1) // 2)
    highest = descending[:high].tolist()
    rest = order[~torch.isin(order, descending[:high])]  # of equal activations, the first come first in both lists
    return Extremes(highest, rest[:count].tolist())
