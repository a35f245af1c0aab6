"""What ``skn mask --sweep`` has written into a folder, read for the report."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from skn.errors import InputError
from skn.neurons.specificity import SpecificityDocument
from skn.reports.sweep_data import Masked
from skn.runs.sweep import Cell
from skn.store import artifacts, documents
from skn.store.csv_tables import plain_cell

AGAIN = "run 'skn mask --sweep' again"

# Columns of accuracy.csv; those of the random masks may be empty.
TEXTS, WHOLE = ("emotion", "attribute"), ("seed", "top")
NUMBERS, OPTIONAL = ("accuracy", "unmasked"), ("random_mean",)

# What a masked file says of its settings, whatever its cell.
MASK_SETTINGS = ("mask", "split", "match", "draws", "draw_seed")


def read_masked(folder: Path) -> Masked:
    """The table, the tests where they were made, and the draws; raises :class:`InputError` for a damaged file."""
    columns = _columns(folder / "accuracy.csv")
    settings, draws = _draws(folder, columns)
    file = folder / "specificity.json"
    return Masked(
        folder.name,
        columns,
        settings,
        draws,
        documents.read(file, "specificity", SpecificityDocument, AGAIN) if file.is_file() else None,
    )


def _draws(folder: Path, columns: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[tuple[str, int], np.ndarray]]:
    """What the cells were masked with, and the mean over the cells of each draw, [draw] by attribute and k.

    A draw is the same mask in every cell, so that its mean over them is one value. Cells that the table leaves out are
    left out here.
    """
    listed = set(zip(*(columns[name].tolist() for name in ("emotion", "seed", "attribute")), strict=True))
    settings: dict[str, Any] = {}
    accuracies: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    first: tuple[Path, int] | None = None
    for file in sorted(folder.rglob("[!.]*.safetensors")):
        masked = artifacts.load(file, "masked")
        meta, draws = masked.meta, masked["random_accuracy"].shape[1]
        cell, attribute = Cell(meta["task"], meta["seed"]), meta["attribute"]
        if (cell.condition, cell.seed, attribute) not in listed:
            continue
        first = first or (file, draws)
        if draws != first[1]:
            raise InputError(f"{file}: {draws} draws, {first[0]} has {first[1]}; {AGAIN} with --overwrite")
        settings = settings or {key: meta[key] for key in MASK_SETTINGS if key in meta}
        for top, accuracy in zip(meta["top"], masked["random_accuracy"].numpy(), strict=True):
            accuracies[attribute, top].append(accuracy)
    return settings, {key: np.mean(cells, axis=0) for key, cells in accuracies.items()}


def _columns(file: Path) -> dict[str, np.ndarray]:
    with open(file, encoding="utf-8", newline="") as opened:
        try:
            rows = list(csv.DictReader(opened, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{file}: damaged ({error}); {AGAIN}") from error
    if not rows:
        raise InputError(f"{file}: holds no cell; {AGAIN}")
    missing = [name for name in (*TEXTS, *WHOLE, *NUMBERS, *OPTIONAL) if rows[0].get(name) is None]
    if missing:
        raise InputError(f"{file}: lacks {', '.join(missing)}; {AGAIN}")
    try:
        columns = {name: np.array([plain_cell(row[name]) for row in rows]) for name in TEXTS}
        columns |= {name: np.array([int(row[name]) for row in rows]) for name in WHOLE}
        columns |= {name: np.array([float(row[name]) for row in rows]) for name in NUMBERS}
        columns |= {name: np.array([float(row[name] or "nan") for row in rows]) for name in OPTIONAL}
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error}); {AGAIN}") from error
    return columns
