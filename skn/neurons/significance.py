"""How far chance explains the predictivity of the best neurons: permutation tests over all neurons at once.

A best neuron is the maximum over many neurons, positions, directions and contrasts, and the maximum of many is high
even where the labels mean nothing. So the labels of the held-out examples are permuted many times. Each relabelling
keeps all activations, and with them the dependence between neurons. The p of one neuron compares it with itself under
relabelled examples. The family-wise p compares it with the best of all neurons (max-T in a single step: Westfall and
Young, "Resampling-Based Multiple Testing", 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skn import ops
from skn.errors import InputError
from skn.neurons.bits import Bits, masks_of
from skn.neurons.selection import Contrast, default_contrasts, has_both_sides
from skn.ops.reference_permutations import REACHES
from skn.seeds import generator

PERMUTATIONS = 1000
LEVEL = 0.05
_SEED = 0  # all probes are permuted alike, so that runs on the same examples share their relabellings


@dataclass(frozen=True)
class Significance:
    """The permutation tests of a split at one read-out.

    ``p`` [L, F] float64 of each neuron by itself, and ``p_family`` [L, F] among all tested neurons; NaN for neurons that
    were not tested. ``chance`` [m] float64 is the predictivity of the best neuron under each relabelling. ``p_chosen`` [L,
    F] is, on test, the family-wise p among the neurons that validation chose: those beyond chance there; NaN for others.
    """

    p: Tensor
    p_family: Tensor
    chance: Tensor
    p_chosen: Tensor | None = None

    @property
    def tested(self) -> int:
        """How many neurons were tested."""
        return int((~self.p.isnan()).sum())

    @property
    def beyond_chance(self) -> Tensor:
        """[L, F] bool: the neurons whose family-wise p is at most 0.05."""
        return self.p_family <= LEVEL

    @property
    def confirmed(self) -> int | None:
        """How many of the neurons that validation chose are beyond chance on test, too; None on validation."""
        return None if self.p_chosen is None else int((self.p_chosen <= LEVEL).sum())

    @property
    def best_by_chance(self) -> tuple[float, tuple[float, float]]:
        """The predictivity that the best of the tested neurons reaches by chance: its mean, and the middle 95% of relabellings."""
        low, high = self.chance.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return self.chance.mean().item(), (low, high)


def permutation_tests(
    bits: Bits | Sequence[Bits],
    present: Tensor,
    permutations: int = PERMUTATIONS,
    contrasts: Sequence[Contrast] | None = None,
    aggregate: str = "mean",
    among: Tensor | None = None,
    chosen: Tensor | None = None,
) -> Significance | None:
    """Test every neuron against relabelled examples, and against the best of all neurons.

    The statistic of a neuron is its best over positions, directions and contrasts. Before the maximum, the difference
    of the two sides' rates is divided by its standard deviation under relabelling (hypergeometric), or a contrast with
    a rare class would dominate. Several runs on the same examples are joined by the mean or the minimum over the runs.
    A contrast that leaves classes out is permuted over all examples, of which it then reads its own.

    Args:
        bits: of one run, or of several runs on the same examples (seeds of one task).
        present: [L, F] bool, the neurons that exist.
        permutations: m. p is (1 + reached) / (1 + m), so it is at least 1 / (1 + m).
        contrasts: by default class 1 against class 0, or each of more classes against the rest.
        aggregate: "mean" or "min", over the runs.
        among: [L, F] bool, the neurons to test; all that exist by default. The family are these neurons.
        chosen: [L, F] bool, the tested neurons that an earlier split chose. They are a family of their own, for ``p_chosen``.

    Returns:
        The tests; None if no contrast has examples on both sides.

    Raises:
        InputError: the runs have other examples, or ``permutations`` is below 1.
    """
    runs = [bits] if isinstance(bits, Bits) else list(bits)
    label = runs[0].label
    if permutations < 1:
        raise InputError(f"permutations: {permutations}; give 1 or more")
    if any(not (torch.equal(one.label, label) and torch.equal(one.row, runs[0].row)) for one in runs):
        raise InputError("the runs have other examples, so no relabelling is the same for all; give runs on one split")
    tested = present if among is None else among & present
    count = torch.bincount(label, minlength=runs[0].classes)
    named = [contrast.among(len(count)) for contrast in contrasts or default_contrasts(len(count))]
    testable = [contrast for contrast in named if has_both_sides(count, contrast)]
    if not testable or not tested.any():
        return None
    sides = _Sides.of(testable, label)
    masks = sides.masks(label, permutations)
    p = torch.full(present.shape, torch.nan, dtype=torch.float64)
    own, greatest = p.clone(), torch.zeros(2, permutations, dtype=torch.float64)
    of_chosen = torch.zeros_like(greatest)

    def measured(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return ops.permuted_hits(
            words.contiguous(), masks, sides.pairs, sides.terms, examples=len(label), lowest=aggregate == "min"
        )

    for layer, here in enumerate(tested):
        neurons = here.nonzero()[:, 0]
        if not len(neurons):
            continue
        words = torch.stack([one.words(layer) for one in runs])
        found, reached, best = measured(words[..., neurons])
        p[layer, neurons] = (1 + reached.double()) / (1 + permutations)
        own[layer, neurons] = found[0]
        greatest = torch.maximum(greatest, best)
        if chosen is not None and chosen[layer].any():
            of_chosen = torch.maximum(of_chosen, measured(words[..., chosen[layer].nonzero()[:, 0]])[2])
    p_chosen = None if chosen is None else _family(own.masked_fill(~chosen, torch.nan), of_chosen[0])
    return Significance(p, _family(own, greatest[0]), greatest[1] + 0.5, p_chosen)


def check_permutations(permutations: int) -> None:
    """Raises :class:`InputError` for a number that means nothing."""
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 0:
        raise InputError(f"--permutations {permutations}: expected a whole number, 0 for no tests")


def _family(own: Tensor, greatest: Tensor) -> Tensor:
    """(1 + the relabellings whose greatest statistic reaches the neuron's own) / (1 + m); NaN where ``own`` is NaN."""
    ordered = greatest.sort().values
    below = torch.searchsorted(ordered, own.nan_to_num(0.0).contiguous() * REACHES)
    return ((1 + len(ordered) - below).double() / (1 + len(ordered))).masked_fill(own.isnan(), torch.nan)


@dataclass(frozen=True)
class _Sides:
    """The sides of contrasts: sets of classes, and what ``permuted_hits`` needs of each contrast."""

    classes: list[tuple[int, ...]]
    pairs: Tensor  # [K, 2] int64
    terms: Tensor  # [K, 4] float64

    @classmethod
    def of(cls, contrasts: Sequence[Contrast], label: Tensor) -> _Sides:
        examples = len(label)
        classes: list[tuple[int, ...]] = []
        pairs, terms = [], []

        def place(side: tuple[int, ...]) -> int:
            side = tuple(sorted(side))
            if side not in classes:
                classes.append(side)
            return classes.index(side)

        for contrast in contrasts:
            positive, negative = (
                int(torch.isin(label, torch.tensor(side)).sum()) for side in (contrast.positive, contrast.negative)
            )
            whole = positive + negative == examples  # then the negative side are all other examples
            pairs.append([place(contrast.positive), -1 if whole else place(contrast.negative)])
            spread = (1 / positive + 1 / negative) ** 0.5
            factors = (float(examples if whole else negative), float(positive))
            terms.append([*factors, 1 / (2 * positive * negative), 1 / (positive * negative * spread)])
        return cls(classes, torch.tensor(pairs), torch.tensor(terms, dtype=torch.float64))

    def masks(self, label: Tensor, permutations: int) -> Tensor:
        """[1 + m, sides, W] int64: the examples of each side, as they are labelled and under each relabelling."""
        on = torch.stack([torch.isin(label, torch.tensor(side)) for side in self.classes])
        drawn = generator(_SEED, "relabelling")
        orders = [torch.randperm(len(label), generator=drawn) for _ in range(permutations)]
        return torch.stack([masks_of(on), *(masks_of(on[:, order]) for order in orders)])
