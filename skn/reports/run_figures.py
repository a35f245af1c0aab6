"""The figures of a run's report: pure functions from numbers to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from skn.neurons.mask_table import MATCHED, controls_of, matches_of
from skn.reports.drawing import GREY, PALETTE, PERCENT, WIDTH, legend_below, shorten, styled

LINES = ("-", "--", ":", "-.")
# Histograms of more classes than this would hide one another, so each class gets a row of its own.
OVERLAID_CLASSES = 3
BINS = 40
# Random controls: the keys of a line with its band, and a colour and a marker for each match.
ENDS = ("mean", "low", "high")
RANDOM = ((PALETTE[0], "s"), (PALETTE[2], "^"), (PALETTE[3], "v"))


@styled
def figure_training(history: Sequence[dict[str, float]], best_step: int) -> Figure:
    """Draw validation accuracy and training loss by step. ``history`` is as the training stage stores it."""
    panels = [
        (key, title)
        for key, title in (("eval_accuracy", "validation accuracy"), ("loss", "training loss"))
        if any(key in entry for entry in history)
    ]
    figure = Figure(figsize=(WIDTH, 2.5))
    for axes, (key, title) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        points = sorted((entry["step"], entry[key]) for entry in history if key in entry)
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=PALETTE[0], marker="o", markersize=3.5)
        axes.set(title=title, xlabel="step", xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if key == "eval_accuracy":
            axes.yaxis.set_major_formatter(PERCENT)
            kept = dict(points).get(best_step)
            if kept is not None:
                name = f"kept (step {best_step})"
                axes.plot(best_step, kept, "D", color=PALETTE[1], markersize=7, label=name)
                axes.legend(loc="best")
    return figure


@styled
def figure_histogram(
    activation: np.ndarray, label: np.ndarray, classes: Sequence[str], threshold: float | None
) -> Figure:
    """Draw activations [N] by class. Each class's bars add up to 100%. Values that are not finite are left out."""
    finite = np.isfinite(activation)
    activation, label = activation[finite].astype(np.float64), label[finite]
    edges = np.histogram_bin_edges(activation, bins=BINS)
    overlaid = len(classes) <= OVERLAID_CLASSES
    rows = 1 if overlaid else len(classes)
    figure = Figure(figsize=(WIDTH, 3.0 if overlaid else 0.9 + 0.42 * rows))
    panels = np.ravel(figure.subplots(rows, 1, sharex=True, sharey=True))
    for c, name in enumerate(classes):
        values = activation[label == c]
        share = np.histogram(values, edges)[0] / max(len(values), 1)
        colour = PALETTE[c] if overlaid else PALETTE[0]
        axes = panels[0 if overlaid else c]
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
        line = LINES[c] if overlaid else "-"
        axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.3, label=shorten(name))
        if not overlaid:
            axes.set_ylabel(shorten(name), rotation=0, ha="right", va="center")
    shown = threshold is not None and np.isfinite(threshold)
    for axes in panels:
        if shown:
            axes.axvline(threshold, color="black", linewidth=1.2, label="threshold (training mean)")
        axes.yaxis.set_major_formatter(PERCENT)
        if not overlaid:
            axes.set_yticks([])
    panels[-1].set_xlabel("activation")
    if overlaid:
        panels[0].set_ylabel("share of the class")
        legend_below(figure, panels[0])
    elif shown:
        figure.legend([panels[0].lines[-1]], ["threshold (training mean)"], loc="outside lower center")
    return figure


@styled
def figure_predictivity(score: np.ndarray, measure: str = "balanced accuracy") -> Figure:
    """Draw predictivity [L, F] by layer: median, middle half, 5% to 95%, best neuron.

    ``measure`` names what is drawn. NaN is an absent neuron.
    """
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.subplots()
    for layer, values in enumerate(score):
        values = values[~np.isnan(values)]
        if values.size == 0:
            continue
        low, first, middle, third, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.bar(layer, high - low, 0.62, low, color=PALETTE[5], alpha=0.35)
        axes.bar(layer, third - first, 0.62, first, color=PALETTE[0], alpha=0.75)
        axes.hlines(middle, layer - 0.31, layer + 0.31, color="black", linewidth=1.4)
        axes.plot(layer, values.max(), "D", color=PALETTE[1], markersize=5)
    axes.axhline(0.5, color=GREY, linestyle=":")
    axes.set(xlabel="layer", ylabel=f"predictivity ({measure})", xlim=(-0.7, len(score) - 0.3))
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=24, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PERCENT)
    handles = [
        axes.plot([], [], "D", color=PALETTE[1], markersize=5)[0],
        Patch(color=PALETTE[5], alpha=0.35),
        Patch(color=PALETTE[0], alpha=0.75),
        axes.plot([], [], color="black", linewidth=1.4)[0],
        axes.plot([], [], color=GREY, linestyle=":")[0],
    ]
    names = ["best neuron", "5% to 95% of neurons", "middle half", "median", "50%"]
    figure.legend(handles, names, loc="outside lower center", ncols=5)
    return figure


@styled
def figure_mask(
    mask: Mapping[str, Any], uniform: float, majority: float | None, chosen: str = "chosen neurons"
) -> Figure:
    """Draw accuracy and AUC against the masked fraction: chosen neurons and random controls of each match.

    Dotted: guessing.
    """
    figure = Figure(figsize=(WIDTH, 3.2))
    left, right = figure.subplots(1, 2)
    _masked_lines(left, mask, "accuracy", chosen)
    _masked_lines(right, mask, "auc", chosen)
    left.axhline(uniform, color=GREY, linestyle=":", label="uniform guess")
    right.axhline(0.5, color=GREY, linestyle=":")
    if majority is not None:
        left.axhline(majority, color="black", linestyle=(0, (1, 3)), label="most frequent class")
    left.set(ylabel="accuracy")
    right.set(ylabel="AUC")
    legend_below(figure, left)
    return figure


def _masked_lines(axes: Axes, mask: Mapping[str, Any], measure: str, chosen: str) -> None:
    rows = sorted((row for row in mask["rows"] if row[measure] is not None), key=lambda row: row["fraction"])
    matches = matches_of(mask)
    for match, (colour, marker) in zip(matches, RANDOM, strict=False):
        found = [(row, controls_of(mask, row)[match]) for row in rows]
        if not any(controls for _, controls in found):
            continue
        # Without masked neurons, a control is the model itself, so all lines start there.
        itself = {row["fraction"]: dict.fromkeys(ENDS, row[measure]) for row in rows if row["fraction"] == 0}
        at = [
            (row["fraction"], *(control[key] for key in ENDS))
            for row, controls in found
            if (control := (controls and controls[measure]) or itself.get(row["fraction"]))
        ]
        fraction, mean, low, high = zip(*at, strict=True)
        several = len(matches) > 1
        name = f"random, {MATCHED[match]}" if several else "random neurons"
        axes.plot(fraction, mean, "--" + marker, color=colour, markersize=4, label=name)
        shaded = None if several else "interval"
        axes.fill_between(fraction, low, high, color=colour, alpha=0.22, linewidth=0, label=shaded)
    fraction = [row["fraction"] for row in rows]
    axes.plot(fraction, [row[measure] for row in rows], "-o", color=PALETTE[1], markersize=4.5, label=shorten(chosen))
    widest = max(fraction, default=0) or 0.1
    axes.set(xlabel="neurons masked in each layer", xlim=(-0.03 * widest, 1.03 * widest))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)


@styled
def figure_models(models: Sequence[dict[str, Any]], majority: float | None = None) -> Figure:
    """Draw bars of accuracy, AUC, parameters and examples per second by model. A panel without numbers is left out.

    An accuracy has its 95% interval. The dotted line is ``majority``, the share of the larger class.
    """
    panels: list[tuple[str, Callable[[dict], tuple | None]]] = [
        ("accuracy", _accuracy_bar),
        ("AUC", _auc_bar),
        ("parameters (millions)", _parameters_bar),
        ("examples per second", _speed_bar),
    ]
    panels = [(title, bar) for title, bar in panels if any(bar(model) for model in models)]
    figure = Figure(figsize=(WIDTH * min(len(panels) / 3, 1), 2.7))
    for axes, (title, bar) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for place, model in enumerate(models):
            drawn = bar(model)
            if drawn is None:
                continue
            value, low, high, text = drawn
            colour, hatch = PALETTE[place % len(PALETTE)], ("", "//")[place % 2]
            axes.bar(place, value, 0.6, color=colour, hatch=hatch, edgecolor="white")
            if high > low:
                ends = [[max(value - low, 0)], [max(high - value, 0)]]
                axes.errorbar(place, value, ends, color="black", capsize=5)
            axes.annotate(text, (place, high), (0, 4), textcoords="offset points", ha="center")
        axes.set(title=title, xticks=range(len(models)), xticklabels=[shorten(m["name"], 14) for m in models])
        axes.set_xlim(-0.6, len(models) - 0.4)
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.14)
        if title in ("accuracy", "AUC"):
            axes.set_ylim(0, 1.12)
            axes.set_yticks(np.arange(0, 1.01, 0.25))
            axes.yaxis.set_major_formatter(PERCENT)
        if title == "accuracy" and majority is not None:
            axes.axhline(majority, color=GREY, linestyle=":", label="larger class alone")
            legend_below(figure, axes)
    return figure


# A bar is (height, low, high, text), or None if the model has no such number.


def _accuracy_bar(model: dict[str, Any]) -> tuple[float, float, float, str] | None:
    value = model.get("accuracy")
    low, high = model.get("interval") or (value, value)
    return None if value is None else (value, low, high, f"{value:.1%}")


def _auc_bar(model: dict[str, Any]) -> tuple[float, float, float, str] | None:
    value = model.get("auc")
    return None if value is None else (value, value, value, f"{value:.1%}")


def _parameters_bar(model: dict[str, Any]) -> tuple[float, float, float, str] | None:
    value = model.get("parameters")
    return None if value is None else (value / 1e6, value / 1e6, value / 1e6, f"{value / 1e6:.3g} M")


def _speed_bar(model: dict[str, Any]) -> tuple[float, float, float, str] | None:
    speed = model.get("examples_per_second")
    return None if speed is None else (speed["median"], speed["low"], speed["high"], _number(speed["median"]))


def _number(value: float) -> str:
    """Write three digits or, above a thousand, all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
