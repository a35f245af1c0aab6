"""Several runs on one page: a row for each run, and their curves in common figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skn.errors import InputError
from skn.names import real_name
from skn.neurons.mask_table import MATCHED, controls_of, matches_of
from skn.neurons.off_target_seeds import joined_seeds
from skn.reports import compare_figures
from skn.reports.card import card
from skn.reports.drawing import Picture
from skn.reports.numbers import Numbers
from skn.reports.page import Section, Table, render
from skn.reports.read_run import collect, write
from skn.reports.run_data import ReportData
from skn.runs.run import Run
from skn.store import folders

Named = dict[str, ReportData]


def report_runs(runs: Sequence[Path], out: Path) -> Path:
    """Write the page of several runs and its pictures into a folder of its own. Returns the page.

    Raises :class:`InputError` for a run that is given twice, and for a folder that is no report.
    """
    named = {name: collect(Run.open(path), with_texts=False) for name, path in _names(runs).items()}
    folders.refuse_occupied(out, "report", overwrite=True)
    sections = [section for build in (_runs, _layers, _masks, _off_target) if (section := build(named)) is not None]
    return write(out, *render("report.html.j2", f"Skill neurons: {len(named)} runs", sections))


def _names(runs: Sequence[Path]) -> dict[str, Path]:
    """Name each run by its folder or, if several folders have the same name, by its path."""
    if len({path.resolve() for path in runs}) < len(runs):
        raise InputError("--run: one run is given twice; give each once")
    short = [path.resolve().name for path in runs]
    return {name if short.count(name) == 1 else str(path): path for name, path in zip(short, runs, strict=True)}


def _runs(named: Named) -> Section:
    """The findings on the card of each run, in one row for each run."""
    cards = {name: card(data) for name, data in named.items()}
    header = ["run", "task", "backbone", "method", *(slot.name for slot in next(iter(cards.values())))]
    rows = []
    for name, slots in cards.items():
        origin, config = named[name].provenance, named[name].config
        where = [str(origin.get("task")), str(origin.get("backbone")), config["method"]]
        rows.append([name, *where, *(slot.value or "–" for slot in slots)])
    notes = [[name, slot.name, slot.note] for name, slots in cards.items() for slot in slots if slot.value]
    tables = [
        Table("What was found", header, rows, range(4, len(header))),
        Table("Beside it", ["run", "what", "note"], notes),
    ]
    return Section("runs", "The runs", [], tables=tables)


def _layers(named: Named) -> Section | None:
    """The best neuron of each layer in each run."""
    best = {}
    for name, data in named.items():
        if data.predictivity is not None:
            score = data.predictivity.score
            best[name] = np.where(np.isnan(score), -np.inf, score).max(axis=1)
    if not best:
        return None
    rows = [
        [name, layer, value]
        for name, values in best.items()
        for layer, value in enumerate(values.tolist())
        if value >= 0
    ]
    drawn = compare_figures.figure_layers(best)
    numbers = Numbers(["run", "layer", "best_neuron"], rows)
    return Section(
        "layers", "Predictivity by layer", [], [Picture("layers", drawn, "Best neuron by layer and run", numbers)]
    )


def _masks(named: Named) -> Section | None:
    """How much more accuracy a mask of the best neurons costs than a random mask."""
    curves, rows = {}, []
    for name, data in named.items():
        for mask in data.masks:
            called = real_name(mask["stem"])
            for match in matches_of(mask):
                points = sorted(
                    (row["fraction"], row["accuracy"] - controls["accuracy"]["mean"])
                    for row in mask["rows"]
                    if row["fraction"] is not None and (controls := controls_of(mask, row)[match])
                )
                if points:
                    by = f", {MATCHED[match]}" if len(matches_of(mask)) > 1 else ""
                    curves[f"{name}, {called}{by}"] = [(0.0, 0.0), *points]
                    rows += [[name, called, *point, match] for point in points]
    if not curves:
        return None
    drawn = compare_figures.figure_masks(curves)
    numbers = Numbers(["run", "mask", "fraction", "accuracy_beyond_random", "match"], rows)
    alt = "Accuracy under masks of the best neurons beyond random ones, by run"
    return Section("beyond-random", "Masked against random", [], [Picture("beyond-random", drawn, alt, numbers)])


def _off_target(named: Named) -> Section | None:
    """Whether masks harm the task of the neurons more than another one, over the runs, which are seeds."""
    table = joined_seeds([harm for data in named.values() for harm in data.off_targets])
    if not len(table):
        return None
    cells = Table(table.title, table.columns, table.written(), range(5, len(table.columns)))
    return Section("over-seeds", "This task beside others, over seeds", [], tables=[cells])
