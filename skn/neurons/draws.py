"""Draws of the held-out examples, and what neurons score on each: bootstraps, and examples with permuted labels.

A draw gives every example a weight, how often it was drawn. The hits of a column of bits are the sum of weight · bit over
the examples of a class, so one product of matrices gives the hits of many draws. The product is exact in float32: its sums
are whole numbers below 2^24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skn.neurons import selection
from skn.neurons.bits import Bits
from skn.neurons.selection import Contrast
from skn.seeds import generator

_SEED = 0  # all rankings are resampled alike
_BYTES = 2**28  # the most that the bits and hits of some of a layer's neurons take


@dataclass(frozen=True)
class Draws:
    """Several draws of N examples: ``weight`` [D, N] float32, and ``label`` [N] int64, or [D, N] if draws have labels of their own."""

    weight: Tensor
    label: Tensor

    def hits(self, on: Tensor, classes: int) -> Tensor:
        """[C, D, columns] float32, whole numbers, from bits [N, columns] float32."""
        if self.label.dim() == 1:
            own = [self.label == c for c in range(classes)]
            return torch.stack([self.weight[:, here] @ on[here] for here in own])
        return torch.stack([(self.weight * (self.label == c)) @ on for c in range(classes)])


def bootstraps(label: Tensor, numbers: range) -> Draws:
    """Draw as many examples of each class as the class has, with replacement. A draw depends on its number alone."""
    return Draws(torch.stack([_weights(label, i) for i in numbers]), label)


def relabelled(label: Tensor, count: int) -> tuple[Draws, Draws]:
    """The examples with ``count`` permutations of their labels, the real labels first; and a bootstrap of each permutation."""
    orders = [torch.randperm(len(label), generator=generator(_SEED, "bootstrap", "labels", r)) for r in range(count)]
    labels = torch.stack([label, *(label[order] for order in orders)])
    # A weight goes with its label, so that each class keeps its number of examples.
    weights = torch.stack([_weights(label, r)[order] for r, order in enumerate(orders)])
    return Draws(torch.ones(labels.shape), labels), Draws(weights, labels[1:])


def _weights(label: Tensor, number: int) -> Tensor:
    drawn = generator(_SEED, "bootstrap", number)
    weight = torch.zeros(len(label))
    for c in label.unique():
        own = (label == c).nonzero()[:, 0]
        weight[own] = torch.bincount(torch.randint(len(own), (len(own),), generator=drawn), minlength=len(own)).float()
    return weight


@dataclass(frozen=True)
class Scored:
    """One run's bits, and how they become scores. ``bad`` [L, F] bool are neurons without a threshold."""

    bits: Bits
    bad: Tensor
    contrasts: Sequence[Contrast]
    measure: Callable[[Tensor, Tensor, Contrast], Tensor]

    def scores(self, layer: int, draws: Draws) -> Tensor:
        """[K, D, F] float64: the layer's predictivity by contrast and draw; NaN for neurons without a threshold."""
        bits, count = self.bits, torch.bincount(self.bits.label, minlength=self.bits.classes)
        examples, positions, many = len(bits.label), bits.packed.shape[2], len(draws.weight)
        # A bit is unpacked and becomes a float32, a hit is a float32, and its accuracy takes about four float64.
        each = positions * (5 * examples + (4 * bits.classes + 32) * many)
        step = max(8, _BYTES // each // 8 * 8)
        parts = []
        for first in range(0, bits.width, step):
            on = bits.unpacked(layer, first, min(first + step, bits.width)).float()
            hits = draws.hits(on.flatten(1), bits.classes).unflatten(2, on.shape[1:])  # [C, D, P, f]
            parts.append(
                torch.stack(
                    [selection.predictivity(self.measure(hits, count, contrast)) for contrast in self.contrasts]
                )
            )
        return torch.cat(parts, dim=2).masked_fill(self.bad[layer], torch.nan)


def top_sets(scores: Tensor, present: Tensor, count: int, order: Tensor) -> Tensor:
    """[D, F] bool: the ``count`` best neurons of each draw, from scores [K, D, F]. The contrasts take turns, as in a ranking.

    Equal neurons come in ``order`` [D, F]. By their index, the first of many equal neurons would seem to stay.
    """
    ranks = [selection.rank(score.gather(1, order), present[order]) for score in scores]
    rank = selection.unite(ranks) if len(ranks) > 1 else ranks[0]
    return torch.zeros(order.shape, dtype=torch.bool).scatter_(1, order, (rank >= 0) & (rank < count))


def by_index(draws: int, width: int) -> Tensor:
    """The ``order`` in which a ranking has equal neurons."""
    return torch.arange(width).expand(draws, width)


def at_random(width: int, *names: object) -> Tensor:
    """[1, F]: an order that depends on the names alone."""
    return torch.randperm(width, generator=generator(_SEED, "bootstrap", "order of equal neurons", *names))[None]
