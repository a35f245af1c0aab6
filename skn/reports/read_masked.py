"""Read the folder of ``skn mask --sweep`` for the report."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from skn.errors import InputError
from skn.names import file_name
from skn.neurons.specificity import SpecificityDocument
from skn.reports.sweep_data import Masked
from skn.runs.sweep import Cell, Sweep
from skn.store import artifacts, documents
from skn.store.artifacts import Artifact
from skn.store.csv_tables import plain_cell
from skn.store.folders import below, check_files
from skn.store.foreign_files import read_text, stands

AGAIN = "run 'skn mask --sweep' again"
ANEW = f"{AGAIN} with --overwrite"

# Columns of accuracy.csv. The columns of random masks may be empty.
TEXTS, WHOLE = ("emotion", "attribute"), ("seed", "top")
NUMBERS, OPTIONAL = ("accuracy", "unmasked"), ("random_mean",)

# The settings of a masked file that do not depend on its cell.
MASK_SETTINGS = ("mask", "split", "match", "draws", "draw_seed", "drawn_for")


def read_masked(folder: Path, sweep: Sweep) -> Masked:
    """Read the table, the tests if they were made, and the draws.

    Raises :class:`InputError` for a file that is damaged or belongs to another sweep.
    """
    columns = _columns(folder / "accuracy.csv")
    settings, draws = _draws(folder, columns, sweep)
    file = folder / "specificity.json"
    tests = documents.read(file, "specificity", SpecificityDocument, AGAIN) if stands(file) else None
    check_files(folder, made_by_skn=True)
    return Masked(folder.name, columns, settings, draws, tests)


def _draws(
    folder: Path, columns: dict[str, np.ndarray], sweep: Sweep
) -> tuple[dict[str, Any], dict[tuple[str, int], np.ndarray]]:
    """Return the settings of the masks, and each draw's mean over the cells, as [draw] by attribute and k.

    A draw is the same mask in every cell, so its mean over the cells is one value. Cells that the table leaves out are
    left out here, too.
    """
    listed = set(zip(*(columns[name].tolist() for name in ("emotion", "seed", "attribute")), strict=True))
    settings: dict[str, Any] = {}
    accuracies: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    said: dict[tuple[str, str], tuple[Any, Path]] = {}
    there = set()
    for file in sorted(folder.rglob("[!.]*.safetensors")):
        masked = artifacts.load(file, "masked")
        meta = masked.meta
        cell, attribute = Cell(meta["task"], meta["seed"]), meta["attribute"]
        if (cell.condition, cell.seed, attribute) not in listed:
            continue
        there.add((cell.condition, cell.seed, attribute))
        _check_cell(masked, cell, folder, sweep)
        _refuse_other_masks(masked, said)
        settings = settings or {key: meta[key] for key in MASK_SETTINGS if key in meta}
        for top, accuracy in zip(meta["top"], masked["random_accuracy"].numpy(), strict=True):
            accuracies[attribute, top].append(accuracy)
    if there and there != listed:
        emotion, seed, attribute = min(listed - there)
        raise InputError(
            f"{folder}: the file of '{attribute}' in {emotion}, seed {seed} is missing, which accuracy.csv lists; "
            f"{AGAIN} with --resume"
        )
    return settings, {key: np.mean(cells, axis=0) for key, cells in accuracies.items()}


def _check_cell(masked: Artifact, cell: Cell, folder: Path, sweep: Sweep) -> None:
    """Refuse results of another cell, attribute or sweep, or of a prompt that was tuned again in the meantime."""
    attribute = masked.meta["attribute"]
    if masked.path != below(folder, str(cell), f"{file_name(attribute, 'attribute')}.safetensors"):
        raise InputError(f"{masked.path}: of '{attribute}' in {cell}, not what its name says; {ANEW}")
    if cell not in sweep.cells:
        raise InputError(f"{masked.path}: of the cell {cell}, which {sweep.path / 'sweep.json'} has not; {ANEW}")
    run = sweep.begun(cell)
    if run is not None and run.is_done:
        run.own(masked.path, "masked", run.identity())


def _refuse_other_masks(masked: Artifact, said: dict[tuple[str, str], tuple[Any, Path]]) -> None:
    """Refuse cells of an attribute that were masked with different settings.

    ``said`` collects the settings of each attribute from the first file that states them.
    """
    meta = {**masked.meta, "draws": masked["random_accuracy"].shape[1]}
    for name in ("top", *MASK_SETTINGS, "sets"):
        if meta.get(name) is None:  # a file of an older version lacks the setting
            continue
        value, file = said.setdefault((meta["attribute"], name), (meta[name], masked.path))
        if meta[name] != value:
            raise InputError(f"{masked.path}: {name} {meta[name]}, {file} has {value}; {ANEW}")


def _columns(file: Path) -> dict[str, np.ndarray]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(file, mend=AGAIN), newline=""), strict=True))
    except csv.Error as error:
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
