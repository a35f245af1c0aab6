"""The stability that belongs to a ranking: bootstraps of the examples that decided, and every two of its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons.auroc import AUROC
from skn.neurons.chance import jaccard_by_chance
from skn.neurons.draws import Draws, Scored, at_random, bootstraps, by_index, relabelled, top_sets
from skn.neurons.probed import Probe
from skn.neurons.selection import MEASURES, Contrast, aggregate, keep_count
from skn.neurons.stability import Agreement, Stability
from skn.progress import track

FRACTION = 0.05
RELABELLINGS = 20
_TOGETHER = 128  # bootstraps in one product


def check_bootstrap(bootstrap: int, fraction: float, by: str, with_: bool) -> None:
    """Raises :class:`InputError` for numbers that mean nothing, and for rankings that bits do not give."""
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int) or bootstrap < 0 or bootstrap == 1:
        raise InputError(f"--bootstrap {bootstrap}: expected a whole number, 2 or more, or 0 for none")
    if not 0 < fraction <= 1:
        raise InputError(f"--bootstrap-fraction {fraction:g}: expected a share above 0, 1 at most")
    if bootstrap and with_:
        raise InputError("--bootstrap and --with exclude each other: the tasks have other examples; give one task")
    if bootstrap and by == AUROC:
        raise InputError("--bootstrap and --by auroc exclude each other: a probe keeps no activations to draw from")


def stability_of(
    seeds: Sequence[Probe],
    split: str,
    readout: str,
    *,
    by: str,
    contrasts: Sequence[Contrast],
    how: str,
    bootstrap: int,
    fraction: float,
) -> Stability | None:
    """Resample the examples of all seeds alike; None for no bootstraps. ``how``: "mean" or "min" over the seeds.

    Raises :class:`InputError` if a probe kept no bits, the seeds have other examples, or ``fraction`` takes no neuron.
    """
    if not bootstrap:
        return None
    present = seeds[0].present
    counts = [keep_count(fraction, int(layer.sum())) for layer in present]
    if not any(counts):
        raise InputError(f"--bootstrap-fraction {fraction:g}: no neuron of any layer; give a larger share")
    runs = [_scored(probe, split, readout, by, contrasts) for probe in seeds]
    _refuse_other_examples(seeds, runs, split)
    ranked = _Ranked(runs, how, present, counts)
    top, in_top, shared = _counted(ranked, bootstrap)
    size = sum(counts)
    found, permuted, of_runs = (number / (2 * size - number) for number in shared)
    random = jaccard_by_chance([(int(layer.sum()), k, k) for layer, k in zip(present, counts, strict=True)])
    return Stability(
        fraction=float(fraction),
        split=split,
        top=top,
        in_top=in_top.masked_fill(~present, math.nan),
        bootstraps=Agreement(found, permuted, random),
        runs=Agreement(of_runs[:, 0], of_runs[:, 1:].mean(dim=0), random) if len(of_runs) else None,
    )


@dataclass(frozen=True)
class _Ranked:
    """The runs of a ranking, how they are joined, and how many neurons of each layer are its best."""

    runs: Sequence[Scored]
    how: str
    present: Tensor
    counts: Sequence[int]

    def each(self, layer: int, draws: Draws) -> list[Tensor]:
        return [run.scores(layer, draws) for run in self.runs]

    def best(self, layer: int, each: list[Tensor], order: Tensor) -> Tensor:
        """[D, F] bool: the layer's best neurons in each draw, from the scores of the runs."""
        return top_sets(aggregate(each, self.how), self.present[layer], self.counts[layer], order)

    def drawn(self, layer: int, draws: Draws, name: str, numbers: range) -> Tensor:
        """The same of draws, with equal neurons in an order of each draw's own."""
        width = self.present.shape[1]
        return self.best(layer, self.each(layer, draws), torch.cat([at_random(width, name, i) for i in numbers]))


def _counted(ranked: _Ranked, bootstrap: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return ``top`` and ``in_top`` [L, F], and how many neurons are shared: by the ranking and each bootstrap; by both under
    each permutation of the labels; and by every two runs [pairs, 1 + permutations].
    """
    label, (layers, width) = ranked.runs[0].bits.label, ranked.present.shape
    parts = [range(at, min(at + _TOGETHER, bootstrap)) for at in range(0, bootstrap, _TOGETHER)]
    draws = [bootstraps(label, part) for part in parts]
    plain, moved = relabelled(label, RELABELLINGS)
    pairs = list(combinations(range(len(ranked.runs)), 2))
    top, in_top = torch.zeros(layers, width, dtype=torch.bool), torch.zeros(layers, width, dtype=torch.float64)
    sizes = (bootstrap,), (RELABELLINGS,), (len(pairs), 1 + RELABELLINGS)
    kept, permuted, of_runs = (torch.zeros(size, dtype=torch.float64) for size in sizes)
    for layer in track(range(layers), layers, "resampling examples"):
        each = ranked.each(layer, plain)
        whole = ranked.best(layer, each, by_index(1 + RELABELLINGS, width))
        top[layer] = whole[0]
        permuted += (whole[1:] & ranked.drawn(layer, moved, "labels", range(RELABELLINGS))).sum(dim=1)
        own = [
            ranked.best(layer, [scores], at_random(width, "run", i).expand_as(whole)) for i, scores in enumerate(each)
        ]
        for pair, (one, other) in enumerate(pairs):
            of_runs[pair] += (own[one] & own[other]).sum(dim=1)
        for part, drawn in zip(parts, draws, strict=True):
            sets = ranked.drawn(layer, drawn, "draw", part)
            kept[part.start : part.stop] += (whole[0] & sets).sum(dim=1)
            in_top[layer] += sets.sum(dim=0)
    return top, in_top / bootstrap, (kept, permuted, of_runs)


def _refuse_other_examples(seeds: Sequence[Probe], runs: Sequence[Scored], split: str) -> None:
    first = runs[0].bits
    for probe, run in zip(seeds, runs, strict=True):
        if not (torch.equal(run.bits.label, first.label) and torch.equal(run.bits.row, first.row)):
            raise InputError(
                f"{probe.where}: has other examples of {split} than {seeds[0].where}; --bootstrap draws the same "
                "examples for all runs; give runs on one split"
            )


def _scored(probe: Probe, split: str, readout: str, by: str, contrasts: Sequence[Contrast]) -> Scored:
    bits = probe.bits_of(split, readout)
    if bits is None:
        raise InputError(
            f"{probe.where}: the probe kept no bits of {split}, and --bootstrap needs them; probe again with "
            "permutations and bits"
        )
    bad = torch.isnan(probe.hits_of(split, readout).threshold).any(dim=1)
    return Scored(bits, bad, contrasts, MEASURES[by])
