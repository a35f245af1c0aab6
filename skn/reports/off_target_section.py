"""What masking this run's neurons costs this run and other runs: a heat map, the tests and all numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from skn.neurons.neuron_sets import whose
from skn.neurons.off_target_table import set_name, setting, test_of
from skn.reports.drawing import PERCENT, WIDTH, Picture, shorten, styled
from skn.reports.heatmap import DIVERGING, colour_bar, draw_cells, write_numbers
from skn.reports.numbers import Numbers
from skn.reports.page import Section, Table, from_to, percent
from skn.reports.run_data import ReportData

HEADER = ["run", "masked", "unmasked", "larger class", "chosen", "controls: mean", "excess drop", "95% interval"]


def off_target(data: ReportData) -> Section | None:
    if not data.off_targets:
        return None
    text, pictures, tables = [], [], []
    for harm in data.off_targets:
        about = f"{setting(harm)}; chosen: {whose(harm['neurons'])}"
        text += [f"{about[0].upper()}{about[1:]}.", *(said for test in harm["tests"] if (said := _tested(harm, test)))]
        alt = f"Excess drop of accuracy by masked set and run. {about}"
        pictures.append(Picture(harm["stem"], figure_excess(harm["runs"]), alt, numbers_of(harm)))
        rows = [_cells(run, row, harm) for run in harm["runs"] for row in run["rows"]]
        tables.append(Table(about, [*HEADER, "D", "p"], rows, range(2, 10)))
    text += dict.fromkeys(note for harm in data.off_targets for note in harm["notes"])
    return Section("off-target", "This task beside others", text, pictures, tables)


@styled
def figure_excess(runs: list[dict[str, Any]]) -> Figure:
    """Draw the excess drops: a row for each masked set, a column for each run."""
    drop = np.array([[row["excess"] for row in run["rows"]] for run in runs]).T
    figure = Figure(figsize=(WIDTH, 1.3 + 0.25 * len(drop)))
    axes = figure.subplots()
    sets = [set_name(row["fraction"]) for row in runs[0]["rows"]]
    widest = max(np.abs(drop).max(), 0.01)
    columns, norm = [shorten(run["run"], 24) for run in runs], Normalize(-widest, widest)
    image = draw_cells(axes, drop, sets, columns, colours=DIVERGING, norm=norm)
    axes.set(xlabel="run in which the neurons are masked (the first: their own)", ylabel="masked share")
    colour_bar(figure, image, axes, "excess drop", format=PERCENT)
    write_numbers(figure, [(axes, image, lambda value: f"{100 * value:+.1f}")])
    return figure


def numbers_of(harm: Mapping[str, Any]) -> Numbers:
    """A row for each run and masked set."""
    header = ["run", "fraction", "neurons", "unmasked", "majority", "chosen", "random_mean", "random_sets"]
    header += ["excess_drop", "excess_drop_low", "excess_drop_high", "difference", "p"]
    rows = []
    for run in harm["runs"]:
        for row in run["rows"]:
            measured = [run["accuracy"], run["majority"], row["accuracy"], np.mean(row["draws"]), len(row["draws"])]
            test = test_of(harm["tests"], run["run"], row["fraction"]) or {}
            found = [row["excess"], *row["interval"], test.get("difference"), test.get("p")]
            rows.append([run["run"], row["fraction"], row["neurons"], *measured, *found])
    return Numbers(header, rows)


def _tested(harm: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    own, masked = harm["runs"][0]["run"], test["fraction"]
    with_ = "With the set masked" if masked is None else f"With {100 * masked:.4g}% of each layer masked"
    return (
        f"{with_}, {own} loses {_points(test['difference'])} more of its skill than {test['run']} "
        f"(p = {test['p']:.3g}, {harm['controls']} random sets)."
        if test["difference"] >= 0
        else f"{with_}, {own} loses {_points(-test['difference'])} less of its skill than {test['run']}."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _cells(run: Mapping[str, Any], row: Mapping[str, Any], harm: Mapping[str, Any]) -> list[str]:
    test = test_of(harm["tests"], run["run"], row["fraction"])
    measured = [run["accuracy"], run["majority"], row["accuracy"], float(np.mean(row["draws"]))]
    cells = [run["run"], set_name(row["fraction"]), *map(percent, measured), f"{row['excess']:+.1%}"]
    judged = ["–", "–"] if test is None else [f"{test['difference']:+.3f}", f"{test['p']:.3g}"]
    return [*cells, from_to(row["interval"]), *judged]
