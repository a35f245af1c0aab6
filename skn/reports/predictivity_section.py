"""What a run's report says of the predictivity of every neuron: by layer, beside chance, how stable, and as a map."""

from __future__ import annotations

from collections.abc import Mapping

from skn.neurons.significance import LEVEL, Significance
from skn.neurons.stability import stability_table
from skn.reports import numbers, run_figures
from skn.reports.drawing import Picture
from skn.reports.neuron_map import NeuronMap
from skn.reports.page import Section, Table, from_to, percent, with_interval
from skn.reports.run_data import ReportData

# The measure of a neuron, and of the model beside it.
MEASURED = {
    "balanced accuracy": "A neuron's accuracy is balanced, the mean of both sides' rates",
    "plain accuracy": "A neuron's accuracy is plain, the share of right examples",
    "area under the ROC curve": "A neuron's area is the larger of the area under its ROC curve and one less this area",
}

TITLE = "Predictivity by layer"


def predictivity(data: ReportData) -> Section | None:
    ranking, tests = data.predictivity, [tested(data.tests)] if data.tests else []
    if ranking is None:
        return Section("predictivity", TITLE, [], tables=tests) if tests else None
    text = f"This ranking, {ranking.neurons}, was {ranking.ranked_on}. {MEASURED[ranking.measure]}."
    if ranking.model:
        reached = " and ".join(f"{with_interval(*of)} on {split}" for split, of in ranking.model.items())
        text += f" By the same measure the model itself reaches {reached}."
        if len(data.config["label_words"]) > 2:
            text += " The model tells all classes apart, a neuron one of them from the others."
    header = ["layer", "neuron", ranking.measure]
    rows = [[layer, neuron, percent(ranking.score[layer, neuron])] for layer, neuron in ranking.best]
    if ranking.test is not None:
        header += [f"{ranking.measure} on test", "95% on test"]
        ends = ranking.test_intervals or [None] * len(rows)
        rows = [
            [*row, percent(value), from_to(pair)] for row, value, pair in zip(rows, ranking.test, ends, strict=True)
        ]
        text += (
            " On test it keeps position and direction and reads them on data that chose neither. Only there it has a 95% "
            "interval: on the split that ranked the neurons, the best is the best of many."
        )
    tables = [Table(f"The {len(rows)} most predictive neurons", header, rows, range(5))]
    drawn = run_figures.figure_predictivity(ranking.score, ranking.measure)
    pictures = [
        Picture(
            "predictivity", drawn, "Predictivity of neurons by layer", numbers.of_neurons(ranking.score, ranking.family)
        )
    ]
    if ranking.stability is not None:
        stable = stability_table(ranking.stability)
        tables.append(Table(stable.title, stable.columns, stable.written(), range(1, len(stable.columns))))
    return Section("predictivity", TITLE, [text], pictures, [*tables, *tests])


def every_neuron(data: ReportData) -> NeuronMap | None:
    """The map of the ranking's neurons, which stands on top of the page."""
    ranking = data.predictivity
    return None if ranking is None else NeuronMap(ranking.score, f"predictivity ({ranking.measure})", ranking.family)


def tested(tests: Mapping[tuple[str, str], Significance]) -> Table:
    """The permutation tests by read-out and split, and what the best neuron reaches by chance."""
    header = ["read-out", "split", "tested", "beyond chance", "confirmed on test", "best by chance: mean", "95%"]
    rows = []
    for (readout, split), found in tests.items():
        mean, ends = found.best_by_chance
        counts = [f"{found.tested:,}", f"{int(found.beyond_chance.sum()):,}", _confirmed(found)]
        rows.append([readout, split, *counts, percent(mean), from_to(ends), f"{len(found.chance):,}"])
    caption = (
        f"Permutation tests of the balanced accuracy. Beyond chance: family-wise p ≤ {LEVEL:g} among all tested neurons. "
        f"Confirmed: the same on test, among those that validation chose."
    )
    return Table(caption, [*header, "relabellings"], rows, range(2, 8))


def _confirmed(found: Significance) -> str:
    if found.p_chosen is None:
        return "–"
    return f"{found.confirmed:,} of {int((~found.p_chosen.isnan()).sum()):,}"
