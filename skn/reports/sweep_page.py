"""The report of a sweep or of a searchlight: its page, and the sections of the grid, of masks and of provenance.

A section is a function from :class:`SweepReportData` to a :class:`Section`, or to None if its stage has not run.
Nothing here reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skn.reports import sweep_figures, sweep_numbers
from skn.reports.drawing import Picture
from skn.reports.page import Section, Table, facts, percent, render
from skn.reports.rsa_sections import searchlight, shared, stability, top_map
from skn.reports.sweep_data import Grid, Masked, SweepReportData
from skn.reports.sweep_figures import Curve
from skn.runs.grid import MARGIN

CURVES = ("unmasked", "accuracy", "random_mean")  # columns of accuracy.csv
INTERVAL = (0.025, 0.975)
MATCH = {"layer": "as many random neurons in each layer", "overall": "as many random neurons in all"}


def pictures_and_page(data: SweepReportData) -> tuple[dict[str, bytes], str]:
    """Return the PNGs and csv files by name, and the page with the PNGs inside."""
    sections = [section for build in SECTIONS if (section := build(data)) is not None]
    return render("sweep.html.j2", data.title, sections)


# ---- sections ------------------------------------------------------------------------------------------


def grid(data: SweepReportData) -> Section | None:
    cell_grid = data.grid
    if cell_grid is None:
        return None
    cells = len(cell_grid.tasks) * len(cell_grid.seeds)
    states = [
        f"{count:,} {state}"
        for state in ("done", "failed", "unfinished", "missing")
        if (count := cell_grid.count(state))
    ]
    text = f"{len(cell_grid.tasks)} tasks × {len(cell_grid.seeds)} seeds = {cells:,} cells: {', '.join(states)}."
    if not np.isnan(cell_grid.accuracy).all():
        text += f" Mean accuracy of those that are done: {percent(float(np.nanmean(cell_grid.accuracy)))}."
        text += f" {MARGIN}: how far an accuracy lies from the farther end of its 95% interval, at the most."
    drawn = sweep_figures.figure_grid(cell_grid)
    picture = Picture("grid", drawn, "Validation accuracy by task and seed", sweep_numbers.of_grid(cell_grid))
    rows = [_task_row(cell_grid, index) for index in range(len(cell_grid.tasks))]
    header = ["task", "done", "mean", "lowest", "highest", MARGIN]
    tables = [Table("Validation accuracy over the seeds", header, rows, range(1, 6))]
    if cell_grid.failed:
        tables.append(Table("Failed cells", ["cell", "error"], sorted(cell_grid.failed.items())))
    return Section("grid", "Accuracy of the cells", [text], [picture], tables)


def masked(data: SweepReportData) -> Section | None:
    text, pictures, tables = [], [], []
    for mask_sweep in data.masked:
        curves = [_curve(mask_sweep, attribute) for attribute in mask_sweep.attributes]
        setting = _setting(mask_sweep)
        text.append(f"{setting}.")
        alt = f"Accuracy against the number of masked neurons, by attribute. {setting}"
        drawn = sweep_figures.figure_masked(curves)
        pictures.append(Picture(f"masked-{mask_sweep.folder}", drawn, alt, sweep_numbers.of_masked(curves)))
        header = ["attribute", "top k", "cells", "nothing masked", "top k masked", "random: mean", "95% of draws"]
        rows = [_curve_row(curve) for curve in curves]
        caption = f"Accuracy at the largest k, mean over cells; every k and cell is in accuracy.csv. {setting}"
        tables.append(Table(caption, header, rows, range(1, 7)))
    if not text:
        return None
    return Section("masked", "Accuracy after masking an attribute's neurons", text, pictures, tables)


def specificity(data: SweepReportData) -> Section | None:
    text, pictures, tables = [], [], []
    for mask_sweep in data.masked:
        tested = mask_sweep.specificity
        if tested is None or not tested["rows"]:
            continue
        rows = _largest(tested["rows"])
        tops = sorted({row["top"] for row in rows})
        ks = ", ".join(f"{top:,}" for top in tops)
        text.append(f"{_setting(mask_sweep)}; k = {ks}. {_verdict(rows, tested['alpha'])}")
        drop, emotions, apart = _drops(tested, rows)
        if emotions:
            drawn = sweep_figures.figure_drop(drop, emotions, [row["attribute"] for row in rows], apart)
            alt = f"Drop of accuracy by emotion and attribute, k = {ks}. {_setting(mask_sweep)}"
            numbers = sweep_numbers.of_drop(drop, emotions, rows, apart)
            pictures.append(Picture(f"drop-{mask_sweep.folder}", drawn, alt, numbers))
        tables += [
            _tests("Drop against random masks, over the seeds", rows, "drop", mask_sweep.name),
            _tests("Specificity: emotions set apart less those that are not", rows, "specificity", mask_sweep.name),
            _mcnemar(rows, mask_sweep.name),
        ]
        if tested["notes"]:
            tables.append(
                Table(f"Notes on the tests of {mask_sweep.name}", ["note"], [[note] for note in tested["notes"]])
            )
    if not text:
        return None
    return Section("specificity", "Damage and specificity", text, pictures, tables)


def provenance(data: SweepReportData) -> Section:
    tables = []
    if data.grid is not None:
        asked = {"tasks": data.grid.tasks, "seeds": data.grid.seeds, **data.settings}
        tables.append(facts("What the sweep was asked for", asked))
        tables.append(facts("Where the cells come from (of the first that is done)", data.provenance))
    rsa = data.searchlight
    if rsa is not None:
        searched = {
            "attributes": rsa.attributes, "conditions": rsa.conditions, "seeds": rsa.seeds, "top": rsa.top,
            "permutations": rsa.permutations, "seed of the permutations": rsa.permutation_seed,
        }  # fmt: skip
        tables.append(facts("The searchlight", searched))
        tables.append(facts("Where its activations and attributes come from", rsa.provenance))
    tables += [facts(f"Masks: {mask_sweep.name}", mask_sweep.settings) for mask_sweep in data.masked]
    files = [(file.name, f"{file.size:,}", file.kind or "–", file.dtype or "–") for file in data.files]
    tables.append(Table("Files", ["file", "bytes", "kind", "dtype"], files, range(1, 2)))
    return Section("provenance", "Provenance", [], tables=tables)


Build = Callable[[SweepReportData], Section | None]
SECTIONS: list[Build] = [grid, searchlight, top_map, shared, stability, masked, specificity, provenance]


# ---- words and cells -----------------------------------------------------------------------------------


def _task_row(cell_grid: Grid, index: int) -> list[Any]:
    values = cell_grid.accuracy[index]
    done = int((~np.isnan(values)).sum())
    numbers = [percent(float(f(values))) for f in (np.nanmean, np.nanmin, np.nanmax)] if done else ["–"] * 3
    known = done and cell_grid.margin is not None
    margin = percent(float(np.nanmax(cell_grid.margin[index]))) if known else "–"
    return [cell_grid.tasks[index], f"{done} of {len(values)}", *numbers, margin]


def _curve(mask_sweep: Masked, attribute: str) -> Curve:
    """Return the means over the cells at each k. A cell that lacks a number is left out of its mean."""
    columns = mask_sweep.columns
    mine = columns["attribute"] == attribute
    tops = np.unique(columns["top"][mine])
    at = [mine & (columns["top"] == top) for top in tops]
    means = [np.array([_mean(columns[name][rows]) for rows in at]) for name in CURVES]
    draws = [mask_sweep.draws.get((attribute, int(top)), np.array([np.nan])) for top in tops]
    low, high = (np.array([np.quantile(values, end) for values in draws]) for end in INTERVAL)
    unmasked, masked, random = means
    lines = {"unmasked": unmasked, "masked": masked, "random": random, "low": low, "high": high}
    return Curve(attribute, tops.tolist(), [int(rows.sum()) for rows in at], **lines)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _curve_row(curve: Curve) -> list[str]:
    unmasked, masked, random, low, high = (
        percent(values[-1]) for values in (curve.unmasked, curve.masked, curve.random, curve.low, curve.high)
    )
    interval = "–" if np.isnan(curve.low[-1]) else f"{low} to {high}"
    return [curve.attribute, f"{curve.top[-1]:,}", f"{curve.cells[-1]:,}", unmasked, masked, random, interval]


def _setting(mask_sweep: Masked) -> str:
    words = {"mask": "mask: {}", "split": "{} split", "draws": "{} draws"}
    said = [form.format(mask_sweep.settings[key]) for key, form in words.items() if key in mask_sweep.settings]
    matched = [MATCH[key] for key in MATCH if key == mask_sweep.settings.get("match")]
    return "; ".join([f"Sets {mask_sweep.name}", *said, *matched])


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the row of the largest k for each attribute, in the order of the file."""
    largest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["attribute"] not in largest or row["top"] > largest[row["attribute"]]["top"]:
            largest[row["attribute"]] = row
    return list(largest.values())


def _verdict(rows: list[dict[str, Any]], alpha: float) -> str:
    """Say how many attributes pass each test after correction, of the attributes that could be tested."""
    said = []
    for measure, words in (("drop", "do more damage than random neurons"), ("specificity", "are specific")):
        q = [row[measure]["q"] for row in rows if row[measure] is not None and row[measure]["q"] is not None]
        if q:
            passed = sum(value <= alpha for value in q)
            said.append(f"the neurons of {passed} of {len(q)} tested attributes {words} (q ≤ {alpha:g})")
    text = ", and ".join(said) or "no attribute could be tested"
    return f"{text[0].upper()}{text[1:]}."


def _drops(tested: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return the drop [emotion, attribute] at the k of ``rows``, the emotions, and +1 or −1 for the top and bottom
    third.
    """
    emotions = list(dict.fromkeys(entry["emotion"] for entry in tested["by_emotion"]))
    row_of = {name: index for index, name in enumerate(emotions)}
    column = {(row["attribute"], row["top"]): index for index, row in enumerate(rows)}
    drop, apart = np.full((len(emotions), len(rows)), np.nan), np.zeros((len(emotions), len(rows)), dtype=int)
    for entry in tested["by_emotion"]:
        at = column.get((entry["attribute"], entry["top"]))
        if at is not None and entry["drop"] is not None:
            drop[row_of[entry["emotion"]], at] = entry["drop"]
    for index, row in enumerate(rows):
        for third, side in (("top_third", 1), ("bottom_third", -1)):
            for name in (row["specificity"] or {}).get(third, ()):
                if name in row_of:
                    apart[row_of[name], index] = side
    return drop, emotions, apart


def _tests(caption: str, rows: list[dict[str, Any]], measure: str, name: str) -> Table:
    shown = []
    for row in rows:
        test = row[measure] or dict.fromkeys(("mean", "low", "high", "p", "q"))
        interval = "–" if test["low"] is None else f"{_points(test['low'])} to {_points(test['high'])}"
        shown.append(
            [row["attribute"], f"{row['top']:,}", _points(test["mean"]), interval, _small(test["p"]), _small(test["q"])]
        )
    header = ["attribute", "top k", "points", "95% interval", "p", "q"]
    return Table(f"{caption}, in percentage points ({name})", header, shown, range(1, 6))


def _mcnemar(rows: list[dict[str, Any]], name: str) -> Table:
    shown = []
    for row in rows:
        test = row["mcnemar"] or dict.fromkeys("bcp")
        counts = ["–" if test[key] is None else f"{test[key]:,}" for key in "bc"]
        shown.append([row["attribute"], f"{row['top']:,}", *counts, _small(test["p"])])
    caption = (
        "McNemar's test on the examples of all cells; b: right under most random masks and wrong under the attribute's, "
        f"c: the reverse ({name})"
    )
    return Table(caption, ["attribute", "top k", "b", "c", "p"], shown, range(1, 5))


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.2f}".replace("-", "−")


def _small(value: float | None) -> str:
    """Write a p or q with three digits, and in powers of ten if it is very small."""
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-")
