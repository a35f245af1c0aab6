"""The figures of a sweep: pure functions from numbers to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from skn.reports.drawing import GREY, PALETTE, PERCENT, WIDTH, legend_below, shorten, styled
from skn.reports.heatmap import DIVERGING, colour_bar, draw_cells, mark_cell, write_numbers
from skn.reports.multiples import panel, small_multiples
from skn.reports.sweep_data import Grid
from skn.runs.grid import DONE, FAILED, MISSING, UNFINISHED

# Cells without an accuracy, by their state.
HATCHES = {FAILED: "xxxxx", UNFINISHED: "/////", MISSING: "..."}
# The colour scale of accuracies spans at least this much. Otherwise near-equal cells would look very different.
SPAN = 0.1


@dataclass(frozen=True)
class Curve:
    """Accuracy of one attribute's masks against ``top``.

    Each number is a mean over the ``cells``; the other fields are [top].
    """

    attribute: str
    top: list[int]
    cells: list[int]
    unmasked: np.ndarray
    masked: np.ndarray
    random: np.ndarray
    low: np.ndarray
    high: np.ndarray


@styled
def figure_grid(grid: Grid) -> Figure:
    """Draw validation accuracy by task and seed. Cells without an accuracy are hatched by their state."""
    figure = Figure(figsize=(WIDTH, max(2.5, 1.2 + 0.185 * len(grid.tasks))))
    axes = figure.subplots()
    names = [shorten(name, 24) for name in grid.names]
    norm = _accuracy_norm(grid.accuracy)
    colours = matplotlib.colormaps["cividis"]
    image = draw_cells(
        axes, grid.accuracy, names, columns=[str(seed) for seed in grid.seeds], colours=colours, norm=norm
    )
    for row, states in enumerate(grid.state):
        for column, state in enumerate(states):
            if state != DONE:
                mark_cell(axes, row, column, HATCHES[state])
    axes.set_xlabel("seed")
    colour_bar(figure, image, axes, "validation accuracy", format=PERCENT)
    seen = [state for state in HATCHES if grid.count(state)]
    if seen:
        boxes = [Patch(facecolor="#EDEDED", edgecolor=GREY, hatch=HATCHES[state], linewidth=0) for state in seen]
        figure.legend(boxes, seen, loc="outside lower center", ncols=len(seen))
    write_numbers(figure, [(axes, image, lambda value: f"{100 * value:.1f}")])
    return figure


def _accuracy_norm(accuracy: np.ndarray) -> Normalize:
    if np.isnan(accuracy).all():
        return Normalize(0, 1)
    low, high = np.nanmin(accuracy), np.nanmax(accuracy)
    short = max(0.0, SPAN - (high - low)) / 2
    return Normalize(max(low - short, 0), min(high + short, 1))


@styled
def figure_masked(curves: Sequence[Curve]) -> Figure:
    """Draw accuracy against k, a panel for each attribute: under its masks, under random masks, and without a mask
    (dotted).
    """
    figure, panels = small_multiples(len(curves), 1.3, "top k", "accuracy")
    for axes, curve in zip(panels, curves, strict=True):
        axes.fill_between(
            curve.top, curve.low, curve.high, color=PALETTE[0], alpha=0.22, linewidth=0, label="95% of draws"
        )
        axes.plot(curve.top, curve.random, "--s", color=PALETTE[0], markersize=3, label="random neurons")
        axes.plot(curve.top, curve.masked, "-o", color=PALETTE[1], markersize=3, label="top k masked")
        axes.plot(curve.top, curve.unmasked, ":", color="black", marker="_", linewidth=1.2, label="nothing masked")
        if len(curve.top) == 1:  # a band with one k has no width
            axes.vlines(curve.top, curve.low, curve.high, color=PALETTE[0], alpha=0.4, linewidth=6)
        panel(axes, curve.attribute, curve.top)
        axes.yaxis.set_major_formatter(PERCENT)
    legend_below(figure, panels[0])
    return figure


@styled
def figure_drop(drop: np.ndarray, emotions: Sequence[str], attributes: Sequence[str], apart: np.ndarray) -> Figure:
    """Draw ``drop`` [emotion, attribute] in accuracy, NaN where unknown.

    ``apart`` [emotion, attribute] is 1 for an emotion in the top third of the attribute's weights, −1 for one in the
    bottom third.
    """
    figure = Figure(figsize=(WIDTH, max(2.8, 1.7 + 0.19 * len(emotions))))
    axes = figure.subplots()
    widest = max(np.nanmax(np.abs(drop), initial=0), 0.01)
    rows, columns = [shorten(name, 20) for name in emotions], [shorten(name, 20) for name in attributes]
    image = draw_cells(axes, drop, rows, columns=columns, colours=DIVERGING, norm=Normalize(-widest, widest))
    for (row, column), value in np.ndenumerate(drop):
        if np.isnan(value):
            mark_cell(axes, row, column, "/////")
    for side, style in _SIDES.items():
        for row, column in np.argwhere(apart == side):
            axes.add_patch(Rectangle((column - 0.44, row - 0.42), 0.88, 0.84, fill=False, **style))
    colour_bar(figure, image, axes, "drop of accuracy", format=PERCENT)
    if apart.any():
        boxes = [Patch(fill=False, **style) for style in _SIDES.values()]
        names = ["the attribute sets this emotion apart (top third)", "it does not (bottom third)"]
        figure.legend(boxes, names, loc="outside lower center", ncols=2)
    write_numbers(figure, [(axes, image, _points)])
    return figure


_SIDES = {
    1: {"edgecolor": "black", "linewidth": 1.0},
    -1: {"edgecolor": GREY, "linewidth": 0.7, "linestyle": (0, (2, 1.5))},
}


def _points(value: float) -> str:
    """Write percentage points with a true minus sign, but no minus before a zero."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0").replace("-", "−")
