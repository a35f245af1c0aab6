"""The tables of a masked sweep: accuracy by cell, attribute and count, and the tests of damage and specificity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from skn.console import print_table, tell
from skn.intervals import mean_share_interval, share_interval
from skn.neurons.attribute_sets import AttributeSets
from skn.neurons.mask_table import MATCHED
from skn.neurons.specificity import Masked, discordant, specificity
from skn.runs.mask_cell import MaskSettings
from skn.runs.sweep import Cell
from skn.store import artifacts, atomic, digests, documents, folders
from skn.store.artifacts import Artifact
from skn.store.csv_tables import csv_text
from skn.tables import span

TABLES = ("accuracy.csv", "accuracy.parquet", "specificity.json")


def write_tables(cells: Sequence[Cell], sets: AttributeSets, settings: MaskSettings) -> None:
    """Write ``accuracy.csv``, ``accuracy.parquet`` and ``specificity.json`` of these cells, and print their tables."""
    accuracies: list[dict[str, Any]] = []
    means: list[list[object]] = []
    results: list[Masked] = []
    for attribute in settings.attributes:  # memory holds one attribute of all cells at a time
        by_cell = {cell: artifacts.load(settings.file(cell, attribute), "masked") for cell in cells}
        for top_index, count in enumerate(settings.top):
            accuracies += [_row(cell, by_cell[cell], attribute, count, top_index) for cell in cells]
            means.append(_averaged(list(by_cell.values()), attribute, count, top_index))
            results.append(_masked(by_cell, attribute, count, top_index))
    order = {cell: number for number, cell in enumerate(cells)}
    # the sort is stable, so attributes and counts keep their order
    accuracies.sort(key=lambda row: order[row.pop("cell")])
    emotions = list(dict.fromkeys(cell.condition for cell in cells))
    document = specificity(results, emotions, sets.weights)
    _write_accuracies(accuracies, settings)
    documents.write(settings.out / "specificity.json", "specificity", document)
    tables = {name: digests.of_file(settings.out / name) for name in TABLES}
    # the mark's digests reveal a table that comes from another folder
    folders.mark(settings.out, "masked sweep", tables)
    _show(means, document, settings, len(cells))


def _row(cell: Cell, artifact: Artifact, attribute: str, count: int, top_index: int) -> dict[str, Any]:
    mean, low, high = mean_share_interval(artifact["random_accuracy"][top_index].tolist())
    masked = artifact["masked"][top_index].double()
    accuracy_low, accuracy_high = share_interval(masked.mean().item(), len(masked))
    return {
        "cell": cell,
        "emotion": cell.condition,
        "seed": cell.seed,
        "attribute": attribute,
        "top": count,
        "accuracy": masked.mean().item(),
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "unmasked": artifact["unmasked"].double().mean().item(),
        "random_mean": mean,
        "random_low": low,
        "random_high": high,
        "draws": artifact["random_accuracy"].shape[1],
    }


def _averaged(cells: list[Artifact], attribute: str, count: int, top_index: int) -> list[object]:
    """Return a row of the printed table.

    A draw is the same mask in all cells, so its mean over the cells is one value.
    """
    draws = np.mean([cell["random_accuracy"][top_index].numpy() for cell in cells], axis=0)
    unmasked, masked = (
        np.mean([tensor.double().mean().item() for tensor in tensors])
        for tensors in ([f["unmasked"] for f in cells], [f["masked"][top_index] for f in cells])
    )
    mean, low, high = mean_share_interval(draws)
    return [attribute, count, unmasked, masked, mean, None if low is None else [low, high]]


def _masked(by_cell: dict[Cell, Artifact], attribute: str, count: int, top_index: int) -> Masked:
    """Join one attribute and count of all cells: each emotion's row holds its seeds."""
    shape = len({cell.task for cell in by_cell}), -1
    masked = np.array([f["masked"][top_index].double().mean().item() for f in by_cell.values()])
    random = np.array([f["random_accuracy"][top_index].mean().item() for f in by_cell.values()])
    counts = [
        discordant(f["masked"][top_index].numpy(), f["random"][top_index].numpy(), f["random_accuracy"].shape[1])
        for f in by_cell.values()
    ]
    b, c = (sum(part) for part in zip(*counts, strict=True))
    return Masked(attribute, count, masked.reshape(shape), random=random.reshape(shape), b=b, c=c)


def _write_accuracies(rows: list[dict[str, Any]], settings: MaskSettings) -> None:
    atomic.write_text(settings.out / "accuracy.csv", csv_text(list(rows[0]), (list(row.values()) for row in rows)))
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    atomic.write_bytes(settings.out / "accuracy.parquet", table.getvalue())


def _show(means: list[list[object]], document: dict[str, Any], settings: MaskSettings, cells: int) -> None:
    title = f"Mask {settings.kind} by the sets {settings.sets.name}, {settings.split} split, mean of {cells} cells; random: {settings.draws} draws, {MATCHED[settings.match]}"
    accuracies = {"unmasked": ".4f", "masked": ".4f", "random": ".4f", "95% of the mean": span}
    print_table(title, ["attribute", "top", *accuracies], means, accuracies)
    rows = document["rows"]
    drops = [[row["attribute"], row["top"], *_test(row["drop"]), row["mcnemar"]["p"]] for row in rows]
    tested = {"95%": _signed, "p": ".2g", "q": ".2g"}
    formats = {"drop": "+.4f", **tested, "McNemar": ".2g"}
    print_table(f"Accuracy lost beside random masks ({settings.out})", ["attribute", "top", *formats], drops, formats)
    specific = [[row["attribute"], row["top"], *_test(row["specificity"])] for row in rows if row["specificity"]]
    if specific:
        title = "Accuracy lost by the emotions that an attribute sets apart, beyond the loss of those it does not"
        formats = {"difference": "+.4f", **tested}
        print_table(title, ["attribute", "top", *formats], specific, formats)
    for note in document["notes"]:
        tell(note)


def _test(test: dict[str, Any]) -> list[object]:
    ends = None if test["low"] is None else [test["low"], test["high"]]
    return [test["mean"], ends, test["p"], test["q"]]


def _signed(ends: list[float]) -> str:
    low, high = ends
    return f"{low:+.3f} – {high:+.3f}"
