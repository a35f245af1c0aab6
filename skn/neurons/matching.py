"""Match random neurons one to one to chosen neurons of the same layer, by how active they are.

A chosen neuron picks at random among the free neurons whose activity lies within 10% of its own, if there are at least
five. Otherwise it picks among the five nearest that lie within a factor of 1.25. If there are none, it takes the
nearest neuron, and the pair counts as unequal. The chosen neurons pick in random order, each neuron is taken once, and
so every draw gives other pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError

CALIPER, EQUAL = math.log(1.1), math.log(1.25)
FEW = 5
_SILENT = -1e6  # the level of a neuron of no activity: far below the logarithm of any number, and equal to itself


def match_by_activity(chosen: Tensor, activity: Tensor, key: torch.Generator) -> Tensor:
    """Return the partner [L, F] int64 of each chosen neuron, a neuron of its layer that is not chosen; −1 without one.

    ``chosen`` is [L, F] bool. Neurons whose ``activity`` [L, F] is NaN are nobody's partner.
    """
    level = levels(activity)
    partner = torch.full(chosen.shape, -1)
    for layer in chosen.any(dim=1).nonzero()[:, 0].tolist():
        own = chosen[layer].nonzero()[:, 0]
        free = (~chosen[layer] & ~activity[layer].isnan()).nonzero()[:, 0]
        taken = _taken(level[layer, own].numpy(), level[layer, free].numpy(), key)
        has = torch.from_numpy(taken >= 0)
        partner[layer, own[has]] = free[torch.from_numpy(taken)[has]]
    return partner


def refuse_unknown(chosen: Tensor, activity: Tensor) -> None:
    """Raises :class:`InputError` for a chosen neuron without a known activity."""
    unknown = (chosen & activity.isnan()).nonzero()
    if len(unknown):
        layer, neuron = unknown[0].tolist()
        raise InputError(
            f"--match activity: the activity of neuron {layer},{neuron} is NaN; choose other neurons or another match"
        )


def as_set(partner: Tensor) -> Tensor:
    """[L, F] bool: the neurons that are somebody's partner."""
    drawn = torch.zeros(partner.shape, dtype=torch.bool)
    layer, neuron = (partner >= 0).nonzero(as_tuple=True)
    drawn[layer, partner[layer, neuron]] = True
    return drawn


def handed_over(factor: Tensor, partner: Tensor) -> Tensor:
    """[L, F] float32: each partner has the ``factor`` of the neuron that it stands for, 1 elsewhere."""
    given = torch.ones_like(factor)
    layer, neuron = (partner >= 0).nonzero(as_tuple=True)
    given[layer, partner[layer, neuron]] = factor[layer, neuron]
    return given


def levels(activity: Tensor) -> Tensor:
    """Return the logarithm of the activity; all neurons of no activity have one level of their own."""
    return torch.where(activity == 0, _SILENT, activity.log())


def _taken(own: np.ndarray, free: np.ndarray, key: torch.Generator) -> np.ndarray:
    """Return for each of the ``own`` levels the place of its partner among the ``free`` levels, −1 without one."""
    taken = np.full(len(own), -1)
    order = torch.randperm(len(own), generator=key).numpy()
    picks = torch.rand(len(own), generator=key, dtype=torch.float64).numpy()
    # Free neurons of equal distance come in random order.
    chance = torch.randperm(len(free), generator=key).numpy()
    ranked = np.argsort(free, kind="stable")
    crowd = _Crowd(free[ranked], chance[ranked])
    for place, pick in zip(order[: len(free)], picks, strict=False):
        pool = crowd.pool(own[place])
        found = pool[int(pick * len(pool))]
        crowd.free[found] = False
        taken[place] = ranked[found]
    return taken


@dataclass
class _Crowd:
    """The levels of a layer's neurons in rising order, and which of the neurons are free."""

    level: np.ndarray
    chance: np.ndarray

    def __post_init__(self) -> None:
        self.free = np.ones(len(self.level), dtype=bool)

    def pool(self, target: float) -> np.ndarray:
        """Return the places of the free neurons among which a neuron of the level ``target`` picks."""
        near = self._within(target, CALIPER)
        if len(near) >= FEW:
            return near
        equal = self._within(target, EQUAL)
        return self._nearest(equal, target, FEW) if len(equal) else self._nearest(np.flatnonzero(self.free), target, 1)

    def _within(self, target: float, width: float) -> np.ndarray:
        low, high = np.searchsorted(self.level, (target - width, target + width))
        return low + np.flatnonzero(self.free[low:high])

    def _nearest(self, places: np.ndarray, target: float, count: int) -> np.ndarray:
        return places[np.lexsort((self.chance[places], abs(self.level[places] - target)))[:count]]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How alike chosen neurons and their partners are, as the mean over the draws.

    ``chosen`` and ``controls`` are mean activities; of the controls None if there are none. ``difference`` is the mean
    over the pairs of the logarithm of chosen over control, divided by the standard deviation of the logarithm over the
    layer's neurons. ``unequal`` counts the chosen neurons that have no control within a factor of 1.25, and ``missing``
    those among them that have none at all.
    """

    chosen: float
    controls: float | None
    difference: float | None
    unequal: float
    missing: int


BALANCE = tuple(field.name for field in fields(Balance))


def balance(chosen: Tensor, activity: Tensor, partners: Sequence[Tensor]) -> dict[str, Any] | None:
    """Return the fields of a :class:`Balance` from the draws of :func:`match_by_activity`; None without chosen neurons."""
    if not chosen.any():
        return None
    level = levels(activity)
    spread = torch.stack([_spread(row[(row > _SILENT) & ~row.isnan()]) for row in level])
    taken, difference, unequal, paired = [], [], [], 0
    for partner in partners:
        layer, neuron = (partner >= 0).nonzero(as_tuple=True)
        ratio = level[layer, neuron] - level[layer, partner[layer, neuron]]
        paired = len(ratio)  # the same in every draw
        taken.append(activity[layer, partner[layer, neuron]])
        comparable = ratio.abs() < -_SILENT / 2  # a silent neuron beside an active one has no ratio
        difference.append((ratio / spread[layer])[comparable])
        unequal.append(int(chosen.sum()) - int((ratio.abs() <= EQUAL).sum()))
    found = {"controls": torch.cat(taken), "difference": torch.cat(difference)}
    return {
        "chosen": activity[chosen].mean().item(),
        **{name: values.mean().item() if len(values) else None for name, values in found.items()},
        "unequal": sum(unequal) / len(unequal),
        "missing": int(chosen.sum()) - paired,
    }


def _spread(level: Tensor) -> Tensor:
    """The standard deviation; 1 if the levels differ by rounding alone, because then no pair differs."""
    spread = level.std(unbiased=False) if len(level) else level.new_zeros(())
    return torch.where(spread > 1e-9, spread, torch.ones_like(spread))
