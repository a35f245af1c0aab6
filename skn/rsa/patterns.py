"""Activation patterns: every neuron's activation under every condition and seed, from skn's files or foreign files.

skn's file is the ``activations`` artifact of a sweep. A foreign file is a safetensors file of that shape whose metadata
name seeds and conditions. A foreign folder is the folder that the code of Li et al. (2023) writes: EMOTION-SEED.csv, a
header 0, 1, …, N − 1 and one row of N activations, layer-major. Its files EMOTION-all.csv, sums over seeds, are
ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch
from safetensors import safe_open
from torch import Tensor

from skn.data.emotions import PUBLISHED_ORDER
from skn.errors import InputError
from skn.progress import track
from skn.rsa.conditions import listed, refuse_repeated
from skn.store import artifacts
from skn.store.csv_tables import neuron_shape, read_table
from skn.store.foreign_files import check_file, reading

_SWEEP_AXES = ["seed", "condition", "L", "F"]


@dataclass(frozen=True)
class Patterns:
    """``values`` [seed, condition, L, F], a finite float type, and the names along the first two axes."""

    values: Tensor
    seeds: list[int]
    conditions: list[str]
    provenance: dict[str, Any] = field(default_factory=dict)


def read_patterns(path: Path, shape: tuple[int, int] | None = None) -> Patterns:
    """Read a file or a folder.

    Files of a folder are flat, and ``shape`` gives their (L, F). Raises :class:`InputError`.
    """
    if path.is_dir():
        patterns = _read_folder(path, shape)
    else:
        if shape is not None:
            raise InputError(
                f"--shape {shape[0]}x{shape[1]}: {path} says its shape itself; --shape is for a folder of csv files"
            )
        patterns = _read_file(path)
    _check(patterns, path)
    return patterns


# ---- safetensors -------------------------------------------------------------------------------------------


def _read_file(path: Path) -> Patterns:
    metadata = _metadata(path)
    if "skn" not in metadata:
        return _read_foreign(path, metadata)
    axes = _json(path, metadata, "skn").get("axes")
    axes = axes.get("activations") if isinstance(axes, dict) else None
    artifact = artifacts.load(path, "activations")
    if axes != _SWEEP_AXES:
        raise InputError(
            f"{path}: activations of one run, with axes {axes}; give those of a sweep, 'skn activate --sweep DIR'"
        )
    try:
        seeds, conditions = artifact.meta["seeds"], artifact.meta["conditions"]
    except KeyError as error:
        raise InputError(f"{path}: does not say its {error}; make it again with 'skn activate --sweep'") from error
    return Patterns(artifact["activations"], seeds, conditions, artifact.provenance)


def _read_foreign(path: Path, metadata: Mapping[str, str]) -> Patterns:
    names = next((name for name in ("conditions", "emotions") if name in metadata), None)
    if names is None or "seeds" not in metadata:
        raise InputError(f"{path}: its metadata must hold JSON lists 'seeds' and 'conditions' (or 'emotions')")
    _, tensors = artifacts.read_safetensors(path)
    if "activations" not in tensors:
        raise InputError(f"{path}: no tensor 'activations' in it (it has {listed(sorted(tensors)) or 'none'})")
    values = tensors["activations"]
    if values.dim() != 4 or not values.is_floating_point():
        what = f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"
        raise InputError(f"{path}: 'activations' is {what}, expected floats [seed, condition, L, F]")
    return Patterns(values, _json(path, metadata, "seeds"), _json(path, metadata, names))


def _metadata(path: Path) -> dict[str, str]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; 'skn activate --sweep DIR' makes one")
    check_file(path)
    with reading(path, "damaged or not a safetensors file"), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _json(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    with reading(path, f"metadata '{key}' is not JSON"):
        value = json.loads(metadata[key])
    if not isinstance(value, dict if key == "skn" else list):
        raise InputError(f"{path}: metadata '{key}' is a {type(value).__name__}; expected a JSON list")
    return value


# ---- the folder of the original ----------------------------------------------------------------------------


def _read_folder(folder: Path, shape: tuple[int, int] | None) -> Patterns:
    cells = _cells(folder)
    conditions = _ordered({condition for condition, _ in cells})
    seeds = sorted({seed for _, seed in cells})
    missing = [f"{c}-{s}.csv" for c in conditions for s in seeds if (c, s) not in cells]
    if missing:
        raise InputError(f"{folder}: cells are missing: {listed(missing)}; every condition needs every seed")
    rows = {cell: _row(file) for cell, file in track(cells.items(), len(cells), "reading cells")}
    first = next(iter(cells))
    length = len(rows[first])
    for cell, row in rows.items():
        if len(row) != length:
            raise InputError(f"{cells[cell]}: {len(row)} neurons, {cells[first].name} has {length}; all must agree")
    values = torch.stack([torch.stack([rows[c, s] for c in conditions]) for s in seeds])
    return Patterns(values.unflatten(2, neuron_shape(shape, length, folder)), seeds, conditions)


def _cells(folder: Path) -> dict[tuple[str, int], Path]:
    files = [file for file in sorted(folder.glob("*.csv")) if not file.stem.endswith("-all")]
    cells = {}
    for file in files:
        match = re.fullmatch(r"(.+)-(\d+)", file.stem)
        if match is None:
            raise InputError(f"{file}: expected a name such as joy-1.csv, EMOTION-SEED.csv; move other files away")
        cells[unquote(match[1]), int(match[2])] = file  # skn.names.file_name quotes a name in this way
    if not cells:
        raise InputError(f"{folder}: no EMOTION-SEED.csv in it")
    return cells


def _ordered(conditions: set[str]) -> list[str]:
    """Sort emotions into the published order, and other names by the alphabet."""
    known = conditions <= set(PUBLISHED_ORDER)
    return sorted(conditions, key=PUBLISHED_ORDER.index if known else None)


def _row(file: Path) -> Tensor:
    table = read_table(file)
    if len(table.rows) != 1:
        raise InputError(f"{file}: {len(table.rows)} rows below the header, expected one row of activations")
    return torch.tensor([table.number(text, 0, name) for name, text in zip(table.header, table.rows[0], strict=True)])


# ---- checks of every source --------------------------------------------------------------------------------


def _check(patterns: Patterns, path: Path) -> None:
    seeds, conditions = patterns.seeds, patterns.conditions
    if not all(type(s) is int for s in seeds) or not all(isinstance(c, str) and c for c in conditions):
        raise InputError(f"{path}: seeds must be whole numbers and conditions names, not {seeds[:2]}, {conditions[:2]}")
    if patterns.values.shape[:2] != (len(seeds), len(conditions)):
        raise InputError(
            f"{path}: activations of {list(patterns.values.shape[:2])} seeds and conditions, but the names are of "
            f"{[len(seeds), len(conditions)]}"
        )
    if not patterns.values.numel():
        raise InputError(f"{path}: activations {list(patterns.values.shape)} hold nothing")
    refuse_repeated(seeds, str(path), "seed")
    refuse_repeated(conditions, str(path))
    # one seed at a time, because a mask of all values is as large as a quarter of the file
    for i, seed in enumerate(seeds):
        finite = torch.isfinite(patterns.values[i])
        if not finite.all():
            condition, layer, neuron = (~finite).nonzero()[0].tolist()
            where = f"seed {seed}, condition '{conditions[condition]}', layer {layer}, neuron {neuron}"
            raise InputError(f"{path}: NaN or infinite at {where}; read these activations again")
