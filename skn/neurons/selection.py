"""From statistics to predictivity to neuron sets (Wang et al., EMNLP 2022, section 3).

A neuron read as a classifier says "positive" where its activation exceeds the threshold. A :class:`Contrast` says which
classes are positive and which are negative. The hits by class suffice for every contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skn.errors import InputError
from skn.intervals import balanced_interval, share_interval


@dataclass(frozen=True)
class Contrast:
    """Classes that count as positive against classes that count as negative. Other classes are left out.

    ``negative`` None means all other classes. :meth:`among` names them once the number of classes is known.
    """

    positive: tuple[int, ...]
    negative: tuple[int, ...] | None

    def __str__(self) -> str:
        negative = "rest" if self.negative is None else ",".join(map(str, self.negative))
        return ",".join(map(str, self.positive)) + ":" + negative

    def among(self, classes: int) -> Contrast:
        """Return this contrast with its negative classes named.

        Raises :class:`InputError` if it does not fit ``classes`` classes.
        """
        positive = set(self.positive)
        rest = tuple(c for c in range(classes) if c not in positive)
        negative = rest if self.negative is None else self.negative
        if (
            not positive
            or not negative
            or positive & set(negative)
            or not positive | set(negative) <= set(range(classes))
        ):
            raise InputError(
                f"--contrast {self}: expected CLASSES:CLASSES or CLASS:rest with different classes 0 to {classes - 1}"
            )
        return Contrast(self.positive, negative)


def default_contrasts(classes: int) -> list[Contrast]:
    """For two classes, class 1 against class 0. For more classes, each class against the rest."""
    if classes == 2:
        return [Contrast((1,), (0,))]
    return [Contrast((c,), tuple(o for o in range(classes) if o != c)) for c in range(classes)]


def has_both_sides(count: Tensor, contrast: Contrast) -> bool:
    """Say whether both sides of the contrast have examples. ``count`` [C] counts the examples of each class."""
    return bool(count[list(contrast.positive)].sum() and count[list(contrast.negative)].sum())


def balanced_accuracy(hits: Tensor, count: Tensor, contrast: Contrast) -> Tensor:
    """[L, P, F] float64: the mean of the two sides' rates of right answers, from hits [C, L, P, F] and count [C].

    Raises :class:`InputError` if a side has no examples.
    """
    positive, negative = (list(side) for side in (contrast.positive, contrast.negative))
    n_positive, n_negative = count[positive].sum().item(), count[negative].sum().item()
    if not n_positive or not n_negative:
        raise InputError(f"contrast {contrast}: the split has {n_positive} positive and {n_negative} negative examples")
    right_positive = hits[positive].sum(dim=0).double() / n_positive
    right_negative = 1.0 - hits[negative].sum(dim=0).double() / n_negative
    return (right_positive + right_negative) / 2


def plain_accuracy(hits: Tensor, count: Tensor, contrast: Contrast) -> Tensor:
    """[L, P, F] float64: the share of examples that the neuron classifies right, as the original code counts it."""
    positive, negative = (list(side) for side in (contrast.positive, contrast.negative))
    right = hits[positive].sum(dim=0) + count[negative].sum() - hits[negative].sum(dim=0)
    return right.double() / (count[positive].sum() + count[negative].sum())


# The measures that score a neuron as a classifier, by name.
MEASURES = {"predictivity": balanced_accuracy, "plain": plain_accuracy}


def accuracy_interval(hits: Tensor, count: Tensor, contrast: Contrast, by: str) -> tuple[float, float]:
    """The 95% interval of one classifier's accuracy, from hits [C] and count [C] of a split that did not choose the
    classifier.
    """
    positive, negative = (list(side) for side in (contrast.positive, contrast.negative))
    examples = [count[side].sum().item() for side in (positive, negative)]
    right = [hits[positive].sum().item(), examples[1] - hits[negative].sum().item()]
    if by == "plain":
        return share_interval(sum(right) / sum(examples), sum(examples))
    return balanced_interval([r / n for r, n in zip(right, examples, strict=True)], examples)


def predictivity(accuracy: Tensor) -> Tensor:
    """[L, F] from accuracies [L, P, F]: max(accuracy, 1 − accuracy) at the best position of each neuron."""
    return torch.maximum(accuracy, 1.0 - accuracy).amax(dim=1)


def carried_over(chosen: Tensor, other: Tensor, neurons: list[tuple[int, int]]) -> list[float]:
    """Each neuron's accuracy on another split, from the accuracies [K, L, P, F] of both splits.

    Contrast, position and direction are the best ones on ``chosen``. The best position on ``other`` itself would
    flatter the neuron, because it is the maximum of many.
    """
    places = [best_place(chosen, *neuron) for neuron in neurons]
    return [read_alike(chosen[place], other[place]).item() for place in places]


def carried_intervals(
    chosen: Tensor, hits: Tensor, count: Tensor, neurons: list[tuple[int, int]], *, contrasts: list[Contrast], by: str
) -> list[tuple[float, float] | None]:
    """The 95% intervals of the accuracies of :func:`carried_over`, from the other split's hits [C, L, P, F] and count
    [C].

    An interval is None if a side of the neuron's contrast has no example in the other split.
    """
    found = []
    for k, layer, position, neuron in (best_place(chosen, *neuron) for neuron in neurons):
        known = has_both_sides(count, contrasts[k])
        ends = accuracy_interval(hits[:, layer, position, neuron], count, contrasts[k], by) if known else None
        found.append(ends and ends_alike(chosen[k, layer, position, neuron].item(), ends))
    return found


def best_neurons(score: Tensor, count: int) -> list[tuple[int, int]]:
    """Return (layer, neuron) of the highest scores [L, F], best first.

    Ties go to the lower layer and index, so the first of many are the same for every ``count``. NaN is no score.
    """
    order = score.nan_to_num(-torch.inf).flatten().argsort(descending=True, stable=True)
    order = order[: min(count, int((~score.isnan()).sum()))]
    return [divmod(place, score.shape[1]) for place in order.tolist()]


def best_place(chosen: Tensor, layer: int, neuron: int) -> tuple[int, int, int, int]:
    """Find in accuracies [K, L, P, F] the contrast and position where a neuron does best, in either direction.

    Ties go to the first contrast and position.
    """
    table = chosen[:, layer, :, neuron]
    contrast, position = divmod(torch.maximum(table, 1 - table).nan_to_num(-1.0).argmax().item(), table.shape[1])
    return contrast, layer, position, neuron


def best_positions(chosen: Tensor) -> Tensor:
    """Return the position of :func:`best_place` for every neuron, [L, F] int64."""
    value = torch.maximum(chosen, 1 - chosen).nan_to_num(-1.0).transpose(0, 1).flatten(1, 2)  # [L, K·P, F]
    return value.argmax(dim=1) % chosen.shape[2]


def read_alike(chosen: Tensor, other: Tensor) -> Tensor:
    """An accuracy on another split, in the direction ("exceeds" or "does not exceed") that was better on ``chosen``."""
    return torch.where(chosen >= 0.5, other, 1 - other)


def ends_alike(chosen: float, ends: tuple[float, float]) -> tuple[float, float]:
    """The ends of an accuracy's interval, in the direction in which :func:`read_alike` reads the accuracy."""
    low, high = ends
    return ends if chosen >= 0.5 else (1 - high, 1 - low)


def aggregate(scores: list[Tensor], how: str) -> Tensor:
    """Join the predictivity [L, F] of several seeds: their mean or their minimum."""
    stacked = torch.stack(scores)
    return stacked.mean(dim=0) if how == "mean" else stacked.amin(dim=0)


def rank(score: Tensor, present: Tensor) -> Tensor:
    """[L, F] int64: 0 is the best neuron of its layer; ties go to the lower index; absent neurons have −1."""
    order = torch.where(present, torch.nan_to_num(score, nan=-1.0), -torch.inf).argsort(
        dim=1, descending=True, stable=True
    )
    positions = torch.arange(score.shape[1]).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, positions)
    return torch.where(present, ranks, -1)


def unite(ranks: list[Tensor]) -> Tensor:
    """One ranking [L, F] in which every cut holds equal shares of the best neurons of each given ranking.

    The original takes the main task's best neurons, and then adds the auxiliary task's best neurons that are not yet
    chosen until the share is full. Here the rankings take turns, which does the same for any number of tasks and at
    every cut. A neuron's place is the turn that first names the neuron.
    """
    absent = ranks[0] < 0
    turn = torch.stack([torch.where(r < 0, r.shape[1], r) * len(ranks) + i for i, r in enumerate(ranks)]).amin(dim=0)
    order = torch.where(absent, turn.max() + 1, turn).argsort(dim=1, stable=True)
    united = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
    return torch.where(absent, -1, united)


def keep_count(fraction: float, present: int) -> int:
    """How many neurons of a layer a fraction keeps. A small tolerance keeps 0.29 × 100 at 29."""
    return int(fraction * present + 1e-9)


def cut(rank_: Tensor, fraction: float, layers: range) -> Tensor:
    """[L, F] bool: the best ``fraction`` of each layer in ``layers``, and no neuron of the other layers."""
    chosen = torch.zeros_like(rank_, dtype=torch.bool)
    for layer in layers:
        chosen[layer] = (rank_[layer] >= 0) & (rank_[layer] < keep_count(fraction, int((rank_[layer] >= 0).sum())))
    return chosen


def top_over_layers(rank_: Tensor, count: int) -> Tensor:
    """[L, F] bool: the ``count`` neurons of lowest rank over all layers, from ranks [L, F] float64 (NaN: unranked).

    Ties go to the lower (layer, neuron). Except for ties, these are the sets of Model_Emotion's mask step.
    """
    flat = rank_.flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.nan_to_num(torch.inf).argsort(stable=True)[:count]] = True
    return chosen.view_as(rank_)


def random_like(chosen: Tensor, present: Tensor, generator: torch.Generator, match: str = "layer") -> Tensor:
    """[L, F] bool: as many neurons as are ``chosen``, drawn at random from the neurons that are ``present``.

    ``match`` "layer" draws as many in each layer. ``match`` "overall" draws as many in all, as Model_Emotion does.
    """
    if match == "overall":
        return _drawn(int(chosen.sum()), present.flatten(), generator).view_as(chosen)
    rows = zip(chosen.sum(dim=1).tolist(), present, strict=True)
    return torch.stack([_drawn(count, candidates, generator) for count, candidates in rows])


def _drawn(count: int, candidates: Tensor, generator: torch.Generator) -> Tensor:
    """[N] bool: ``count`` neurons, drawn from the ``candidates`` [N] bool."""
    places = candidates.nonzero()[:, 0]
    drawn = torch.zeros_like(candidates)
    drawn[places[torch.randperm(places.numel(), generator=generator)[:count]]] = True
    return drawn


def random_factors(chosen: Tensor, generator: torch.Generator) -> Tensor:
    """[L, F] float32: a factor uniform in [0, 1) for each chosen neuron, 1 elsewhere (Model_Emotion's "float" masks)."""
    factor = torch.ones(chosen.shape)
    factor[chosen] = torch.rand(int(chosen.sum()), generator=generator)
    return factor
