"""Read a run's ranking for its report: the best neurons, their accuracy on test, and the positions where they predict
best.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skn.inference.readouts import PROMPT
from skn.neurons.auroc import AUROC
from skn.neurons.neuron_sets import MEASURED, NeuronSets, whose
from skn.neurons.probed import read_probe
from skn.neurons.selection import Contrast, best_neurons, best_place, carried_intervals, carried_over, default_contrasts
from skn.neurons.significance import Significance
from skn.reports.run_data import ByPosition, Ends, FamilyWise, Predictivity
from skn.runs.run import Run
from skn.store import artifacts
from skn.store.artifacts import Artifact
from skn.store.foreign_files import stands
from skn.store.provenance import compare_provenance

BEST_SHOWN = 10
CARRIED = 200  # the points in the figure of the best neurons on test
MOST = 0.99  # the quantile of the neurons of a layer at a position


def read_ranking(run: Run, identity: dict[str, Any]) -> Artifact | None:
    """Load the run's ranking. A fixed set has no scores to show, and gives None."""
    file = run.file("neurons")
    if not stands(file):
        return None
    ranking = artifacts.load(file, "neurons")
    compare_provenance(ranking.provenance, identity, str(file), "neurons")
    return None if ranking.get("score") is None else ranking


def best_of(neurons: Artifact | None, count: int) -> list[tuple[int, int]]:
    """Return (layer, neuron) of the highest scores, best first; none without a ranking."""
    return [] if neurons is None else best_neurons(neurons["score"], count)


def predictivity_of(
    run: Run,
    neurons: Artifact,
    identity: dict[str, Any],
    hits: dict[str, Artifact],
    tests: Mapping[tuple[str, str], Significance],
) -> Predictivity:
    meta, best, by = neurons.meta, best_of(neurons, BEST_SHOWN), neurons.meta.get("by", "predictivity")
    split = meta.get("split")
    parts = [f"measured on the {split} split" if split else "imported"]
    if len(meta.get("runs", [])) > 1:
        parts.append(f"{meta['aggregate']} over {len(meta['runs'])} runs")
    if meta.get("with_runs"):
        parts.append(f"the best of this task and of {len(meta['with_runs'])} more")
    measure = "plain" if by == "plain" else "accuracy"
    chosen, tested = (None, None) if by == AUROC else _own_tables(run, neurons, identity)
    more = best_of(neurons, CARRIED)
    test = None if chosen is None or tested is None else _test_accuracy(chosen, tested, measure, more)
    sets = NeuronSets(**{name: neurons.get(name) for name in ("rank", "selected", "factor")},
                      provenance=neurons.provenance, meta=meta, path=neurons.path)  # fmt: skip
    shown = () if by == AUROC else (split, "test")  # the model has an accuracy and no area
    probes = {name: read_probe(artifact) for name, artifact in hits.items() if name in shown}
    model = {name: (probe.model_accuracy(name, by), probe.model_interval(name, by)) for name, probe in probes.items()}
    return Predictivity(
        neurons["score"].numpy(), ", ".join(parts), best, test=test and test[: len(best)], measure=MEASURED[by],
        model={name: reached for name, reached in model.items() if reached[0] is not None},
        test_intervals=test and _test_intervals(run, chosen, neurons, hits.get("test"), best=best),
        neurons=whose({**sets.identity, "name": neurons.path.name}),
        by_position=None if chosen is None else _by_position(chosen[measure], best[0]),
        carried=[] if test is None else [(*place, value) for place, value in zip(more, test, strict=True)],
        family=_family(run, neurons, identity, tests),
        stability=meta.get("stability"),
    )  # fmt: skip


def _own_tables(run: Run, neurons: Artifact, identity: dict[str, Any]) -> tuple[Artifact | None, Artifact | None]:
    """Return the accuracies from which this run's own ranking was made, and the accuracies on test; None for a missing
    one.
    """
    split, readout = neurons.meta.get("split"), neurons.meta.get("readout", PROMPT)
    if split is None or not _is_own(neurons, identity):
        return None, None
    files = [run.file("accuracy", readout, name) for name in (split, "test")]
    chosen, tested = (run.own(file, "accuracy", identity) if stands(file) else None for file in files)
    if chosen is None or _contrasts(neurons) not in (None, chosen.meta.get("contrasts")):
        return None, None
    chosen.fits(neurons.neurons, neurons.path.name)
    return chosen, None if split == "test" else tested


def _family(
    run: Run, neurons: Artifact, identity: dict[str, Any], tests: Mapping[tuple[str, str], Significance]
) -> FamilyWise | None:
    """Return the family-wise p on the split that ranked the neurons; None if it was not tested.

    A ranking holds the p of its own seeds and contrasts. A ranking without p takes the p of this run's probe if it is of
    this probe alone.
    """
    split, readout = neurons.meta.get("split"), neurons.meta.get("readout", PROMPT)
    p = neurons.get(f"p_family_{split}")
    if p is None and _is_own(neurons, identity) and _contrasts(neurons) in (None, _usual(run)):
        found = tests.get((readout, split))
        p = None if found is None else found.p_family
    return None if p is None else FamilyWise(split, p.numpy())


def _usual(run: Run) -> list[str]:
    return [str(contrast) for contrast in default_contrasts(len(run.config.label_words))]


def _by_position(accuracy: Tensor, first: tuple[int, int]) -> ByPosition:
    """From accuracies [K, L, P, F]: take the better direction and contrast of each neuron, at each position."""
    reached = torch.maximum(accuracy, 1 - accuracy).amax(dim=0).numpy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN")  # a layer without neurons has no best neuron and no quantile
        best, most = np.nanmax(reached, axis=-1), np.nanquantile(reached, MOST, axis=-1)
    return ByPosition(best, most, best_place(accuracy, *first)[1:3])


def _is_own(neurons: Artifact, identity: dict[str, Any]) -> bool:
    """Whether this run's probe alone made the ranking. Only then do its accuracies say how a neuron was chosen."""
    several = len(neurons.meta.get("runs", [])) > 1 or neurons.meta.get("with_runs")
    return not several and neurons.provenance.get("tuned") in (None, identity.get("tuned"))


def _contrasts(neurons: Artifact) -> list[str] | None:
    """Return the ranking's contrasts, as ``accuracy`` files name them; None for files of older versions."""
    sides = neurons.meta.get("contrasts")
    return None if sides is None else [str(Contrast(tuple(positive), tuple(negative))) for positive, negative in sides]


def _test_accuracy(chosen: Artifact, test: Artifact, measure: str, best: list[tuple[int, int]]) -> list[float] | None:
    """Return the best neurons' accuracy on test; None if the choice made on ``chosen`` cannot be repeated there."""
    contrasts = [artifact.meta.get("contrasts") for artifact in (chosen, test)]
    if contrasts[0] != contrasts[1] or chosen[measure].shape != test[measure].shape:
        return None
    if chosen.provenance.get("dtype") != test.provenance.get("dtype"):
        return None
    return carried_over(chosen[measure], test[measure], best)


def _test_intervals(
    run: Run, chosen: Artifact, neurons: Artifact, hits: Artifact | None, best: list[tuple[int, int]]
) -> list[Ends | None] | None:
    """Return the intervals of :func:`_test_accuracy`.

    They need the counts on test: ``hits`` of the main read-out, or a file of the run.
    """
    readout, by = neurons.meta.get("readout", PROMPT), neurons.meta.get("by", "predictivity")
    file = run.file("hits", readout, "test")
    if readout != run.config.main_readout and file.is_file():
        hits = artifacts.load(file, "hits", chosen.provenance)
    if hits is None or hits.meta.get("readout", PROMPT) != readout:
        return None
    contrasts, table = default_contrasts(hits["count"].numel()), chosen["plain" if by == "plain" else "accuracy"]
    if [str(one) for one in contrasts] != chosen.meta.get("contrasts") or hits["hits"].shape[1:] != table.shape[1:]:
        return None
    return carried_intervals(table, hits["hits"], hits["count"], best, contrasts=contrasts, by=by)
