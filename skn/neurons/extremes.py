"""Which examples a neuron is most, and least, active on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Extremes:
    """Places of examples: ``highest`` first the most active one, ``lowest`` first the least active one."""

    highest: list[int]
    lowest: list[int]


def extremes(activation: Tensor, count: int) -> Extremes:
    """Of activations [N] the ``count`` highest and lowest; ties go to the example that comes first, NaN is neither.

    No example is in both, however few examples or different activations there are.
    """
    known = (~activation.isnan()).nonzero()[:, 0]
    order = known[activation[known].double().argsort(stable=True)]
    descending = known[(-activation[known].double()).argsort(stable=True)]
    high = min(count, (len(known) + 1) // 2)
    highest = descending[:high].tolist()
    rest = order[~torch.isin(order, descending[:high])]  # of equal activations the first are at both ends
    return Extremes(highest, rest[:count].tolist())
