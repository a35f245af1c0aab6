"""One ranking of the neurons of each layer, from the probes of one or many runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.readouts import is_of_gate
from skn.names import one_of
from skn.neurons import selection
from skn.neurons.activity import mean_square, mean_variance
from skn.neurons.auroc import AUROC, known
from skn.neurons.bootstrap import FRACTION, check_bootstrap, stability_of
from skn.neurons.neuron_sets import NeuronSets, Reached
from skn.neurons.probed import Probe, accuracy_table
from skn.neurons.probing import Moments
from skn.neurons.ranked_tests import tests_of
from skn.neurons.selection import MEASURES, Contrast, default_contrasts, has_both_sides, predictivity
from skn.neurons.significance import PERMUTATIONS, check_permutations
from skn.store.provenance import compare_provenance

Seeds = Sequence[Probe]


def rank(
    probe: Probe | Seeds,
    with_: Sequence[Probe | Seeds] = (),
    *,
    split: str = "validation",
    by: str = "predictivity",
    readout: str | None = None,
    aggregate: str = "mean",
    contrasts: Sequence[Contrast] | None = None,
    permutations: int = PERMUTATIONS,
    bootstrap: int = 0,
    bootstrap_fraction: float = FRACTION,
) -> NeuronSets:
    """Rank the neurons of each layer by how well they predict the label.

    Several tasks, and the contrasts of one task, have a ranking each. skn takes neurons from these rankings by turns, so every cut holds equal
    shares of each ranking (Wang et al., EMNLP 2022, section 4, for two tasks).

    Args:
        probe: the probe of one run, or the probes of several runs that are seeds of one task.
        with_: further binary tasks, each with one probe or with the probes of several seeds.
        split: the split that decides, "validation" or "test".
        by: "predictivity", from the mean of the classes' rates; "plain" accuracy as the original counts it; or "auroc", the larger of area and
            1 - area under the ROC curve, of the class that a neuron tells best from the rest. It needs ``skn.probe(auroc=True)``.
        readout: one of the read-outs of the probe (``at``): "prompt", "mask", "last", "mean" or "max", with "-gate" behind it if the probe read
            act(gate). By default the run's own, where the label words are scored.
        aggregate: how seeds are joined: "mean" or "min".
        contrasts: ``skn.Contrast`` objects, classes against classes. By default class 1 against class 0 for two classes, and each class against
            the rest for more classes.
        permutations: relabellings for the p of each neuron, of all seeds together (``ranking.tests``); 0 for none. Rankings by turns and by
            areas have no p, and neither have probes that kept no bits.
        bootstrap: how often to draw the examples of the split again, for the stability of the best neurons (``ranking.stability``);
            0 for none. Needs the probe's bits.
        bootstrap_fraction: the share of each layer that counts as its best neurons there.

    Returns:
        The ranking: ``best(10)``, ``cut(0.1, layers=range(3, 12))``, ``count(61)``.

    Raises:
        InputError: the probes belong to different backbones or classes, or lack the split or the readout; seeds have other
            examples, so that no relabelling is the same for all; ``bootstrap`` without bits, with ``with_`` or with areas.

    Example::

        >>> ranking = skn.rank(probe)
        >>> len(ranking.best(10)), int(ranking.cut(0.25, layers=range(1, 3)).sum())
        (10, 24)
    """
    one_of(aggregate, ("mean", "min"), "--aggregate")
    check_permutations(permutations)
    one_of(by, (*MEASURES, AUROC), "--by")
    check_bootstrap(bootstrap, bootstrap_fraction, by, with_=bool(with_))
    if contrasts and by == AUROC:
        raise InputError("--contrast and --by auroc exclude each other: areas are of each class against the rest")
    if contrasts and with_:
        raise InputError("--contrast and --with exclude each other: a contrast is read from one task's classes")
    groups = [list(group) if isinstance(group, Sequence) else [group] for group in (probe, *with_)]
    if not all(groups) or not all(isinstance(one, Probe) for group in groups for one in group):
        raise InputError("rank: give what skn.probe returns, one or several of them; with_ is a list of such")
    if contrasts and not all(isinstance(contrast, Contrast) for contrast in contrasts):
        raise InputError(
            "rank: contrasts are a list of skn.Contrast(positive, negative), such as skn.Contrast((1,), (0,))"
        )
    first = groups[0][0]
    readout = readout or first.main
    for group in groups:
        for other in group:
            _same_neurons(first, other)
            _same_task(group[0], other)
    _refuse_twice([one for group in groups for one in group])
    scores = [
        score for group in groups for score in _scores(group, contrasts, aggregate, split=split, readout=readout, by=by)
    ]
    ranks = [selection.rank(score, first.present) for score in scores]
    how = {"contrasts": contrasts, "aggregate": aggregate, "permutations": 0 if with_ or by == AUROC else permutations}
    named = _contrasts(groups[0], contrasts, split, readout)
    meta = {
        "split": split,
        "by": by,
        "aggregate": aggregate,
        "readout": readout,
        "contrasts": [[list(c.positive), list(c.negative)] for c in named],
        "runs": [_name(seed_probe) for seed_probe in groups[0]],
        "with_runs": [[_name(seed_probe) for seed_probe in group] for group in groups[1:]],
        "rankings": len(ranks),
    }
    moments = _moments(groups)
    return NeuronSets(
        rank=selection.unite(ranks) if len(ranks) > 1 else ranks[0],
        score=torch.stack(scores).amax(dim=0).masked_fill(~first.present, torch.nan),
        provenance=_origin(groups),
        meta=meta,
        mean=None if moments is None else (first.provenance, moments.threshold().mean(dim=1)),
        square=None if moments is None else mean_square(moments),
        variance=None if moments is None else mean_variance(moments),
        position=_position(groups),
        tests=tests_of(groups[0], split, readout, **how),
        stability=stability_of(
            groups[0],
            split,
            readout,
            by=by,
            contrasts=named,
            how=aggregate,
            bootstrap=bootstrap,
            fraction=bootstrap_fraction,
        ),
    )


def on_test(ranking: NeuronSets, chosen: Probe, test: Probe, count: int = 10) -> list[Reached]:
    """Return the best neurons' accuracy on test and its 95% interval, by the measure that ranked the neurons.

    Each accuracy is read at the position, in the direction and for the contrast that the ranking's split chose.
    Accuracy and interval are None if a side of the contrast has no example on test.

    ``chosen`` is the one probe that was ranked. Raises :class:`InputError` if ``test`` belongs to another pass.
    """
    compare_provenance(test.provenance, chosen.provenance, test.where, "pass", other=chosen.where)
    _same_neurons(chosen, test)
    split, by, readout = (ranking.meta[name] for name in ("split", "by", "readout"))
    contrasts = [Contrast(tuple(positive), tuple(negative)) for positive, negative in ranking.meta["contrasts"]]
    before, after = (
        torch.stack([accuracy_table(probe.hits_of(name, readout), contrast, by) for contrast in contrasts])
        for probe, name in ((chosen, split), (test, "test"))
    )
    best, counted = ranking.best(count), test.hits_of("test", readout)
    values = selection.carried_over(before, after, best)
    if by == AUROC:  # an area has no interval here
        return [(None if math.isnan(value) else value, None) for value in values]
    ends = selection.carried_intervals(before, counted.hits, counted.count, best, contrasts=contrasts, by=by)
    return [(None if math.isnan(value) else value, pair) for value, pair in zip(values, ends, strict=True)]


def _origin(groups: Sequence[Seeds]) -> dict[str, Any]:
    """Return the provenance of one probe; for several probes, the values that they share, and lists of seeds and tuned
    prompts.
    """
    first, *others = (probe.provenance for group in groups for probe in group)
    if not others:
        return first
    shared = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    tasks = list(dict.fromkeys(group[0].provenance.get("task") for group in groups))
    apart = {name: [origin.get(name) for origin in (first, *others)] for name in ("seed", "tuned")}
    return shared | apart | {"task": " + ".join(map(str, tasks))}


def _moments(groups: Sequence[Seeds]) -> Moments | None:
    """Return the moments of one probe at its main read-out."""
    probes = [probe for group in groups for probe in group]
    if len(probes) > 1 or is_of_gate(probes[0].main):  # a mask changes the product
        return None
    return probes[0].moments.get(probes[0].main)


def _position(groups: Sequence[Seeds]) -> tuple[dict[str, Any], Tensor] | None:
    """The position [L, F] at which each neuron of a probe predicts best on validation, and whose it is; None of several."""
    probes = [probe for group in groups for probe in group]
    if len(probes) > 1 or ("validation", probes[0].main) not in probes[0].hits:
        return None
    return probes[0].provenance, selection.best_positions(probes[0].accuracy("validation"))


def _name(probe: Probe) -> str | None:
    return None if probe.path is None else probe.path.resolve().name


def _same_neurons(first: Probe, other: Probe) -> None:
    if other.present.shape != first.present.shape or not torch.equal(other.present, first.present):
        raise InputError(f"{other.where}: has other neurons than {first.where}")
    compare_provenance(
        other.provenance,
        first.provenance,
        other.where,
        "neurons",
        other=first.where,
        way_out="give runs of one backbone",
    )


def _refuse_twice(probes: Seeds) -> None:
    """Raises :class:`InputError` if a run is given twice, because the same prompt would count as two seeds."""
    seen: dict[tuple, Probe] = {}
    for probe in probes:
        said = tuple(str(probe.provenance.get(name)) for name in ("tuned", "task", "split_digest", "seed"))
        if probe.provenance.get("tuned") is not None and said in seen:
            raise InputError(f"{probe.where}: of the same run as {seen[said].where}; give each run once")
        seen[said] = probe


def _same_task(first: Probe, other: Probe) -> None:
    """Raises :class:`InputError` if ``other`` belongs to another task, because only seeds of one task are averaged."""
    compare_provenance(
        other.provenance, first.provenance, other.where, "seeds", other=first.where, way_out="seeds share a task"
    )


def _scores(
    seeds: Seeds, contrasts: Sequence[Contrast] | None, aggregate: str, split: str, readout: str, by: str
) -> list[Tensor]:
    """Return the predictivity [L, F] of each contrast of one task, joined over the seeds."""
    classes = seeds[0].hits_of(split, readout).count.numel()
    for probe in seeds:
        own = probe.hits_of(split, readout).count.numel()
        if own != classes:
            raise InputError(f"{probe.where}: {own} classes, {seeds[0].where} has {classes}; seeds share a task")
    if by == AUROC:
        return [selection.aggregate([_best_area(probe, split, readout) for probe in seeds], aggregate)]
    return [
        selection.aggregate([_score(probe, contrast, split, readout, by) for probe in seeds], aggregate)
        for contrast in _contrasts(seeds, contrasts, split, readout)
    ]


def _contrasts(seeds: Seeds, contrasts: Sequence[Contrast] | None, split: str, readout: str) -> list[Contrast]:
    classes = seeds[0].hits_of(split, readout).count.numel()
    return [contrast.among(classes) for contrast in contrasts] if contrasts else default_contrasts(classes)


def _best_area(probe: Probe, split: str, readout: str) -> Tensor:
    """[L, F]: the larger of area and 1 − area, at the best class and position of each neuron."""
    hits = probe.hits_of(split, readout)
    known(hits.areas, probe.where)
    tables = []
    for contrast in default_contrasts(hits.count.numel()):
        _refuse_one_side(probe, contrast, split, hits.count)
        tables.append(predictivity(accuracy_table(hits, contrast, AUROC)))
    return torch.stack(tables).amax(dim=0)


def _score(probe: Probe, contrast: Contrast, split: str, readout: str, by: str) -> Tensor:
    hits = probe.hits_of(split, readout)
    _refuse_one_side(probe, contrast, split, hits.count)
    measure = MEASURES[by]
    bad = torch.isnan(hits.threshold).any(dim=1)  # a neuron with a NaN threshold predicts nothing
    return predictivity(measure(hits.hits, hits.count, contrast)).masked_fill(bad, torch.nan)


def _refuse_one_side(probe: Probe, contrast: Contrast, split: str, count: Tensor) -> None:
    if not has_both_sides(count, contrast):
        counts = ", ".join(f"{number} of class {c}" for c, number in enumerate(count.tolist()))
        raise InputError(
            f"{probe.where}: split {split} has {counts}: it cannot tell contrast {contrast}; "
            "choose by another --split, or other classes with --contrast"
        )
