"""Figures that show several runs in one panel. Colour, line and marker tell the runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skn.reports.drawing import GREY, PALETTE, PERCENT, WIDTH, legend_below, shorten, styled

LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vX"


@styled
def figure_layers(best: Mapping[str, np.ndarray]) -> Figure:
    """Draw the best neuron's predictivity [L] of each run, by layer. -inf stands for a layer without neurons."""
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    for i, (name, values) in enumerate(best.items()):
        _line(axes, i, name, np.arange(len(values)), np.where(np.isinf(values), np.nan, values))
    axes.set(xlabel="layer", ylabel="predictivity of the best neuron")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PERCENT)
    legend_below(figure, axes)
    return figure


@styled
def figure_masks(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw (fraction masked, accuracy minus that of random masks) of each run and mask.

    Below zero, the best neurons matter more.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        _line(axes, i, name, *np.transpose(points))
    axes.axhline(0, color=GREY, linestyle=":")
    axes.set(xlabel="neurons masked in each layer", ylabel="accuracy beyond random masks")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    legend_below(figure, axes)
    return figure


def _line(axes: Axes, number: int, name: str, x: np.ndarray, y: np.ndarray) -> None:
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    line = LINES[number // len(PALETTE) % len(LINES)]
    axes.plot(x, y, line, color=colour, marker=marker, markersize=4, label=shorten(name, 40))
