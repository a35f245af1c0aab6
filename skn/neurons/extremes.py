"""Which examples a neuron is most, and least, active on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Extremes:
    """Places of examples: ``highest`` first the most active one, ``lowest`` first the least active one."""

    highest: list[int]
    lowest: list[int]


def extremes(activation: Tensor, count: int) -> Extremes:
    """Of activations [N] the ``count`` highest and lowest; ties go to the example that comes first, NaN is neither.

    Where there are fewer than 2 · ``count`` examples, no example is in both.
    """
    known = (~activation.isnan()).nonzero()[:, 0]
    order = known[activation[known].double().argsort(stable=True)]
    descending = known[(-activation[known].double()).argsort(stable=True)]
    high = min(count, (len(known) + 1) // 2)
    low = min(count, len(known) - high)
    return Extremes(descending[:high].tolist(), order[:low].tolist())
