"""The figures of a searchlight: pure functions from numbers to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skn.reports.drawing import PALETTE, WIDTH, shorten, styled
from skn.reports.heatmap import DIVERGING, colour_bar, draw_cells, write_numbers
from skn.reports.multiples import panel, small_multiples
from skn.reports.sweep_data import Dropped

# Colours from best to worst within the top k. The worst is still darker than the pale colour of pixels with few neurons
# of the set.
RANKS = LinearSegmentedColormap.from_list("ranks", matplotlib.colormaps["viridis"](np.linspace(0, 0.8, 64)))
MAP_PIXELS = 900  # columns of the map of neurons that the eye can still separate at page width


@styled
def figure_counts(panels: Mapping[str, np.ndarray], attributes: Sequence[str]) -> Figure:
    """Draw counts [attribute, L] under each title, with one colour scale."""
    height = 0.5 + 0.17 * len(attributes)
    figure = Figure(figsize=(WIDTH, 0.35 + height * len(panels)))
    every = list(figure.subplots(len(panels), 1, squeeze=False)[:, 0])
    norm = Normalize(0, max(1, *(counts.max() for counts in panels.values())))
    drawn = []
    for axes, (title, counts) in zip(every, panels.items(), strict=True):
        layers = [str(layer) for layer in range(counts.shape[1])]
        image = draw_cells(
            axes,
            counts.astype(float),
            _short(attributes),
            columns=layers,
            colours=matplotlib.colormaps["cividis"],
            norm=norm,
        )
        axes.set_title(title)
        drawn.append((axes, image, "{:.0f}".format))
    every[-1].set_xlabel("layer")
    colour_bar(figure, drawn[-1][1], every, "significant neurons", ticks=MaxNLocator(integer=True, nbins=6))
    write_numbers(figure, drawn)
    return figure


@styled
def figure_top_map(rank: np.ndarray, k: int, attributes: Sequence[str]) -> Figure:
    """Draw ``rank`` [attribute, neuron]: 0 to k − 1 in a top-k set, −1 outside. Each neuron has a column, in order."""
    figure = Figure(figsize=(WIDTH, 1.15 + 0.2 * len(attributes)))
    axes = figure.subplots()
    neurons = rank.shape[1]
    axes.imshow(map_pixels(rank, k), aspect="auto", interpolation="nearest", extent=(0, neurons, len(attributes), 0))
    axes.set_yticks(np.arange(len(attributes)) + 0.5, _short(attributes))
    axes.set_xlabel("neurons in the top k of any attribute, by the first attribute that has them, then by rank")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.grid(visible=False)
    for row in range(1, len(attributes)):
        axes.axhline(row, color="#D0D0D0", linewidth=0.5)
    colour_bar(figure, ScalarMappable(Normalize(1, max(k, 2)), RANKS), axes, "rank (1 is best)").ax.invert_yaxis()
    return figure


def map_pixels(rank: np.ndarray, k: int, pixels: int = MAP_PIXELS) -> np.ndarray:
    """Return RGB [attribute, at most ``pixels``, 3] of ``rank`` [attribute, neuron], which is −1 outside the set.

    A pixel of several neurons has the colour of the mean rank of its neurons in the set. The fewer neurons of the set
    it has, the paler it is.
    """
    edges = np.unique(np.linspace(0, rank.shape[1], min(pixels, rank.shape[1]) + 1).astype(int))
    inside = rank >= 0
    count = np.add.reduceat(inside, edges[:-1], axis=1, dtype=np.float64)
    total = np.add.reduceat(np.where(inside, rank, 0), edges[:-1], axis=1, dtype=np.float64)
    colour = RANKS(total / np.maximum(count, 1) / max(k - 1, 1))[..., :3]
    share = (count / np.diff(edges))[..., None]
    return 1 - share * (1 - colour)


@styled
def figure_overlap(share: np.ndarray, ratio: np.ndarray, attributes: Sequence[str], chance: float) -> Figure:
    """Draw the lower triangles of two matrices [A, A]: the share of the top k that two attributes have in common, and
    how many times chance this share is. ``chance`` is the mean share of independent sets.
    """
    size = len(attributes) - 1
    figure = Figure(figsize=(WIDTH, 2 * (1.15 + 0.19 * size)))
    above, below = figure.subplots(2, 1)
    rows, columns = _short(attributes[1:]), _short(attributes[:-1])
    lower = np.tril(np.ones((size, size), dtype=bool))
    share, ratio = (np.where(lower, matrix[1:, :-1], np.nan) for matrix in (share, ratio))
    highest = max(2, np.nanmax(ratio, initial=0))
    shares = Normalize(min(chance, np.nanmin(share, initial=1)), max(np.nanmax(share, initial=0), chance + 0.01))
    upper = draw_cells(above, share, rows, columns=columns, colours=matplotlib.colormaps["cividis"], norm=shares)
    lowest = draw_cells(below, ratio, rows, columns=columns, colours=DIVERGING, norm=TwoSlopeNorm(1, 0, highest))
    above.set_title(f"share of the top k in common, % (chance: {100 * chance:.2g}%)")
    below.set_title("times what chance gives (1: as independent sets)")
    write_numbers(figure, [(above, upper, lambda v: f"{100 * v:.0f}"), (below, lowest, "{:.1f}".format)])
    return figure


@styled
def figure_stability(stability: Mapping[str, Dropped], attributes: Sequence[str]) -> Figure:
    """Draw Jaccard against k, a panel for each attribute: mean and lowest over the dropped "seeds" and "conditions"."""
    figure, panels = small_multiples(len(attributes), 1.3, "top k", "Jaccard index")
    looks = {"seeds": (PALETTE[0], "o"), "conditions": (PALETTE[1], "s")}
    for index, (axes, attribute) in enumerate(zip(panels, attributes, strict=True)):
        for what, dropped in stability.items():
            colour, marker = looks[what]
            tops = sorted(dropped.jaccard)
            mean, lowest = np.array([dropped.summary(k) for k in tops])[:, :, index].T
            name = f"one {what.removesuffix('s')} dropped"
            axes.plot(tops, mean, "-", color=colour, marker=marker, markersize=3, label=f"{name}: mean")
            hollow = {"marker": marker, "markersize": 3, "markerfacecolor": "white", "label": f"{name}: lowest"}
            axes.plot(tops, lowest, "--", color=colour, **hollow)
        panel(axes, attribute, tops)
        axes.set_ylim(0, 1.03)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(stability))
    return figure


def _short(names: Sequence[str]) -> list[str]:
    return [shorten(name, 20) for name in names]
