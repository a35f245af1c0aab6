"""Figures of a ranking beyond its layers: prompt positions, and how the best neurons do on test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from skn.reports.drawing import GREY, PALETTE, PERCENT, WIDTH, styled
from skn.reports.heatmap import draw_cells, write_numbers

RISING = LinearSegmentedColormap.from_list("rising", ["#F7F7F7", "#5AA5D6", "#00497A"])

MOST_LABELS = 16  # the most labels below the cells of a panel half as wide as the page


@styled
def figure_positions(best: np.ndarray, most: np.ndarray) -> Figure:
    """Draw predictivity [L, P] by layer and prompt position: of the best neuron, and of the 99th percentile of neurons."""
    layers, places = best.shape
    figure = Figure(figsize=(WIDTH, 1.1 + 0.2 * layers))
    norm = Normalize(0.5, max(float(np.nanmax(best)), 0.51))
    rows, columns = [str(layer) for layer in range(layers)], [str(place) for place in range(places)]
    panels = []
    for axes, values, title in zip(
        figure.subplots(1, 2), (best, most), ("best neuron", "99th percentile"), strict=True
    ):
        image = draw_cells(axes, values, rows, columns, colours=RISING, norm=norm)
        axes.set(title=title, xlabel="prompt position")
        if places > MOST_LABELS:  # the cells are too narrow for a number below each, and for white lines between them
            axes.set_xticks(range(0, places, -(-2 * places // MOST_LABELS)))
            axes.set_xticklabels(axes.get_xticks(), rotation=0, ha="center")
            axes.grid(visible=False, which="minor", axis="x")
        panels.append((axes, image, lambda value: f"{100 * value:.0f}"))
    panels[0][0].set_ylabel("layer")
    bar = figure.colorbar(panels[0][1], ax=[axes for axes, *_ in panels], format=PERCENT, shrink=0.8)
    bar.outline.set_visible(False)
    write_numbers(figure, panels)
    return figure


@styled
def figure_carried(chosen: Sequence[float], tested: Sequence[float], ranked_on: str, first: int) -> Figure:
    """Draw accuracy on test against accuracy on the ranking's split, a point for each neuron.

    The ``first`` neurons are marked.
    """
    figure = Figure(figsize=(WIDTH * 0.6, WIDTH * 0.5))
    axes = figure.subplots()
    low, high = min(*chosen, *tested, 0.5), max(*chosen, *tested)
    margin = 0.03 * (high - low)
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=GREY, linestyle=":", label="equal")
    axes.plot(chosen[first:], tested[first:], "o", color=PALETTE[0], markersize=3.5, alpha=0.6, label="best neurons")
    axes.plot(chosen[:first], tested[:first], "D", color=PALETTE[1], markersize=5, label=f"the first {first}")
    axes.set(xlim=ends, ylim=ends, xlabel=f"accuracy, {ranked_on}", ylabel="accuracy on test")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="upper left")
    return figure
