"""The page of ``skn compare``: whether tasks share neurons, as heat maps and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from skn.neurons.comparison import Comparison, pair_name, setting, sizes_of, whole_span
from skn.reports.drawing import WIDTH, Picture, shorten, styled
from skn.reports.heatmap import DIVERGING, colour_bar, draw_cells, write_numbers
from skn.reports.numbers import Numbers
from skn.reports.page import Section, Table, facts, render
from skn.reports.read_run import PAGE
from skn.store import folders

FILE = "compare.json"
OVERLAP = ["shared", "expected", "low", "high", "p"]


def write_comparison(out: Path, found: Comparison) -> Path:
    """Write ``compare.json``, the page and its pictures into a folder of their own. Returns the page."""
    sections = [_correlations(found), _shared(found), _runs(found)]
    pictures, page = render("report.html.j2", f"Shared neurons: {len(found.runs)} runs", sections)
    with folders.replaced(out, "comparison") as folder:
        found.write(folder / FILE)
        for name, content in {**pictures, PAGE: page.encode()}.items():
            (folder / name).write_bytes(content)
    return out / PAGE


def _correlations(found: Comparison) -> Section:
    pairs, names = found.pairs, found.names
    layers = np.array([pair["spearman"] for pair in pairs], dtype=float)  # None becomes NaN
    means = Numbers(["run", "other_run", "mean_spearman"], _cells(pairs, ["mean_spearman"]))
    rows = [[p["first"], p["second"], n, rho] for p in pairs for n, rho in enumerate(p["spearman"])]
    by_layer = Numbers(["run", "other_run", "layer", "spearman"], rows)
    matrix = figure_matrix(_matrix(found, "mean_spearman", 1.0), names, "Spearman, mean of layers", -1)
    figures = [
        Picture("correlation", matrix, "Mean correlation of predictivity, by run and run", means),
        Picture("correlation-by-layer", figure_layers(layers, found), "Correlation by pair and layer", by_layer),
    ]
    return Section("correlation", "Do runs rank the neurons alike?", [], figures)


def _shared(found: Comparison) -> Section:
    shares = {**found.document, "pairs": [{**p, "share": p["shared"] / max(min(p["sizes"]), 1)} for p in found.pairs]}
    matrix = figure_matrix(_matrix(Comparison(shares), "share", 1.0), found.names, "share of the set", 0)
    numbers = Numbers(["run", "other_run", *OVERLAP], _cells(found.pairs, OVERLAP))
    rows = [
        [p["first"], p["second"], p["shared"], sizes_of(p), f"{p['expected']:.1f}", whole_span([p["low"], p["high"]]),
         f"{p['p']:.2g}"]
        for p in found.pairs
    ]  # fmt: skip
    header = ["run", "other run", "shared", "of", "by chance", "95% by chance", "p"]
    text = [f"The sets: {setting(found.document)}."]
    picture = Picture("shared", matrix, "Share of the best neurons in both sets, by run and run", numbers)
    return Section(
        "shared", "Do they have the same best neurons?", text, [picture], [Table(text[0], header, rows, range(2, 7))]
    )


def _runs(found: Comparison) -> Section:
    tables = [facts(run["run"], {"read-out": run["readout"], **run["provenance"]}) for run in found.runs]
    return Section("provenance", "Provenance", [], tables=tables, folded=True)


def _cells(pairs: list[dict[str, Any]], keys: list[str]) -> list[list[Any]]:
    return [[pair["first"], pair["second"], *(pair[key] for key in keys)] for pair in pairs]


def _matrix(found: Comparison, key: str, diagonal: float) -> np.ndarray:
    """[run, run] of a value of the pairs; a pair without the value has NaN."""
    matrix = np.full((len(found.names),) * 2, np.nan)
    np.fill_diagonal(matrix, diagonal)
    for pair in found.pairs:
        both = found.names.index(pair["first"]), found.names.index(pair["second"])
        matrix[both] = matrix[both[::-1]] = np.nan if pair[key] is None else pair[key]
    return matrix


@styled
def figure_matrix(values: np.ndarray, names: list[str], label: str, lowest: float) -> Figure:
    """Draw a value of every two runs, from ``lowest`` to 1."""
    figure = Figure(figsize=(WIDTH, 1.6 + 0.3 * len(names)))
    axes, short = figure.subplots(), [shorten(name, 24) for name in names]
    image = draw_cells(axes, values, short, short, colours=DIVERGING, norm=Normalize(-1, 1))
    colour_bar(figure, image, axes, label).ax.set_ylim(lowest, 1)
    write_numbers(figure, [(axes, image, "{:.2f}".format)])
    return figure


@styled
def figure_layers(rho: np.ndarray, found: Comparison) -> Figure:
    """Draw the correlations [pair, L]."""
    figure = Figure(figsize=(WIDTH, 1.3 + 0.25 * len(rho)))
    axes, pairs = figure.subplots(), [shorten(pair_name(pair), 40) for pair in found.pairs]
    layers = [str(layer) for layer in range(rho.shape[1])]
    image = draw_cells(axes, rho, pairs, layers, colours=DIVERGING, norm=Normalize(-1, 1))
    axes.set_xlabel("layer")
    colour_bar(figure, image, axes, "Spearman")
    write_numbers(figure, [(axes, image, "{:.2f}".format)])
    return figure
