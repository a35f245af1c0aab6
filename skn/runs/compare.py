"""Whether tasks share neurons: the rankings of several runs of one backbone, two by two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.errors import InputError
from skn.names import one_of
from skn.neurons.comparison import Comparison
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.probed import Probe
from skn.neurons.ranking import rank
from skn.neurons.sharing import overlap, spearman_by_layer, top_set
from skn.neurons.side_by_side import names_of, refuse_unfit
from skn.runs.run import Run
from skn.store.output import refuse_existing

Source = Probe | Path | str


def compare(
    *runs: Source | Sequence[Source],
    fraction: float = 0.05,
    overall: bool = False,
    split: str = "validation",
    by: str = "predictivity",
    readout: str | None = None,
    aggregate: str = "mean",
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Compare the neurons of several tasks over one backbone, two tasks at a time.

    For each pair: Spearman's rank correlation of predictivity over the neurons of each layer, and how many neurons the
    best of both share, beside the number that sets of as many neurons of each layer share by chance (exact:
    hypergeometric in each layer, summed over the layers).

    Args:
        runs: for each task what skn.probe returns, or the folder of a probed run; or a list of these, which are seeds
            of the task.
        fraction: the share of neurons in a set of best neurons.
        overall: take the best neurons over all layers by their score, instead of the best share of each layer. Equal
            neurons at the end of a set come in a random order, another one for each task.
        split: the split that ranks the neurons, "validation" or "test".
        by: the measure that ranks the neurons, as in ``skn.rank``: "predictivity", "plain" or "auroc".
        readout: the read-out of the ranking, as in ``skn.rank``; by default each run's own.
        aggregate: how seeds are joined: "mean" or "min".
        out: a JSON file that keeps the result.

    Returns:
        ``table()`` and ``to_pandas()`` have a row for each pair, ``by_layer()`` the correlations of each layer.

    Raises:
        InputError: a value has no meaning; a run is given twice, was not probed, or belongs to another backbone.

    Source: Wang et al., EMNLP 2022, for the correlations.

    Example::

        >>> unlike = skn.probe(skn.tune(backbone, data, ["negative", "positive"], prompt_length=4, epochs=0, seed=1))
        >>> found = skn.compare(probe, unlike, fraction=0.25)
        >>> found.pairs[0]["sizes"], found.pairs[0]["expected"]
        ([36, 36], 9.0)
    """
    one_of(split, ("validation", "test"), "--split")
    if not isinstance(fraction, float | int) or not 0 < fraction <= 1:
        raise InputError(f"--fraction {fraction}: a share above 0 and at most 1")
    groups = [[one] if isinstance(one, Source) else list(one) for one in runs]
    if len(groups) < 2 or not all(groups):
        raise InputError(
            "compare: give two or more runs, such as runs/sst2 runs/imdb; a list of runs counts as one, as the seeds of a task"
        )
    file = None if out is None else Path(out)
    if file is not None:
        refuse_existing([file], overwrite, kind="compare")
    probes = [[_probe(one, split, readout) for one in group] for group in groups]
    refuse_unfit([(probe.where, probe.provenance) for group in probes for probe in group])
    how = {"split": split, "by": by, "readout": readout, "aggregate": aggregate, "permutations": 0}
    rankings = [rank(group, **how) for group in probes]
    _refuse_empty(rankings, fraction, probes)
    names = names_of([(str(g[0].provenance.get("task")), [probe.path for probe in g]) for g in probes])
    about = [
        {"run": name, "seeds": len(group), "readout": ranking.meta["readout"], "neurons": ranking.digest,
         "provenance": ranking.provenance}
        for name, group, ranking in zip(names, probes, rankings, strict=True)
    ]  # fmt: skip
    sets = [top_set(group, fraction, overall, **how) for group in probes]
    pairs = [_pair(names, rankings, sets, both) for both in combinations(range(len(names)), 2)]
    settings = {"fraction": float(fraction), "overall": overall, "split": split, "by": by, "aggregate": aggregate}
    comparison = Comparison({**settings, "runs": about, "pairs": pairs}, file)
    if file is not None:
        comparison.write(file)
    return comparison


def _probe(one: Source, split: str, readout: str | None) -> Probe:
    """Return a probe as it is, or that of a run's folder. Raises :class:`InputError`."""
    if not isinstance(one, Source):
        raise InputError(f"compare: give what skn.probe returns, or the folders of runs, not {type(one).__name__}")
    return one if isinstance(one, Probe) else Run.open(one).probe(split, readout)


def _refuse_empty(rankings: Sequence[NeuronSets], fraction: float, probes: Sequence[Sequence[Probe]]) -> None:
    """Refuse rankings of other neurons, and a share that chooses none. Raises :class:`InputError`."""
    first = rankings[0].rank >= 0
    for ranking, group in zip(rankings, probes, strict=True):
        if ranking.rank.shape != first.shape or not torch.equal(ranking.rank >= 0, first):
            raise InputError(
                f"{group[0].where}: has other neurons than {probes[0][0].where}; give runs of one backbone"
            )
    if not rankings[0].cut(fraction).any():
        raise InputError(f"--fraction {fraction:g}: no neuron of any layer; give a larger share")


def _pair(
    names: Sequence[str], rankings: Sequence[NeuronSets], sets: Sequence[Tensor], both: tuple[int, int]
) -> dict[str, Any]:
    """Return the entry of two runs in ``compare.json``."""
    first, second = both
    rho = spearman_by_layer(rankings[first].score, rankings[second].score)
    known = [value for value in rho if value is not None]
    found = asdict(overlap(sets[first], sets[second], rankings[first].rank >= 0))
    found["sizes"] = list(found["sizes"])
    said = {"first": names[first], "second": names[second], "spearman": rho}
    return said | {"mean_spearman": float(np.mean(known)) if known else None} | found
