"""Sections of a run's report about its ranking: by prompt position, and on test."""

from __future__ import annotations

import numpy as np

from skn.reports.drawing import Picture
from skn.reports.numbers import Numbers
from skn.reports.page import Section, percent
from skn.reports.ranking_figures import figure_carried, figure_positions
from skn.reports.run_data import ReportData


def positions(data: ReportData) -> Section | None:
    """The prompt positions at which the neurons predict best; None with only one position."""
    found = data.predictivity and data.predictivity.by_position
    if found is None or found.best.shape[1] < 2:
        return None
    layer, place = found.read_at
    text = f"The best neuron of all is read at position {place}, in layer {layer}: {percent(found.best[layer, place])}."
    rows = [
        [layer, place, found.best[layer, place].item(), found.most[layer, place].item()]
        for layer, place in np.ndindex(found.best.shape)
    ]
    numbers = Numbers(["layer", "position", "best_neuron", "percentile_99"], rows)
    drawn = figure_positions(found.best, found.most)
    picture = Picture("positions", drawn, "Predictivity by layer and prompt position", numbers)
    return Section("positions", "Predictivity by prompt position", [text], [picture])


def carried(data: ReportData) -> Section | None:
    """The best neurons on test, beside the split that chose them."""
    ranking = data.predictivity
    if ranking is None or len(ranking.carried) < 2:
        return None
    chosen = [float(ranking.score[layer, neuron]) for layer, neuron, _ in ranking.carried]
    tested = [value for *_, value in ranking.carried]
    first = min(len(ranking.best), len(tested))
    lost = float(np.mean(chosen) - np.mean(tested))
    text = (
        f"The {len(tested)} best neurons reach {percent(float(np.mean(chosen)))} on average on the split that ranked them, and "
        f"{percent(float(np.mean(tested)))} on test ({-100 * lost:+.1f} points). Ranking: {ranking.ranked_on}."
    )
    rows = [
        [layer, neuron, score, value] for (layer, neuron, value), score in zip(ranking.carried, chosen, strict=True)
    ]
    numbers = Numbers(["layer", "neuron", "accuracy_when_ranked", "accuracy_on_test"], rows)
    drawn = figure_carried(chosen, tested, ranking.ranked_on, first)
    picture = Picture(
        "carried", drawn, "Accuracy of the best neurons on test against the split that ranked them", numbers
    )
    return Section("carried", "The best neurons on test", [text], [picture])
