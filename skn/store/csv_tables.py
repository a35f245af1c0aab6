"""CSV files of numbers: one header line, every problem with its row and column."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skn.errors import InputError

# What the original's activations and ranks are of: roberta-base.
PUBLISHED_SHAPE = (12, 3072)


@dataclass(frozen=True)
class Table:
    """A header and rows of as many texts."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        index = self.header.index(name)
        return [row[index] for row in self.rows]

    def numbers(self, name: str, missing: str | None = None) -> np.ndarray:
        """A column as float64 [rows]; the text ``missing`` is NaN. Raises :class:`InputError` for other no-numbers."""
        return np.array([np.nan if t == missing else self.number(t, i, name) for i, t in enumerate(self.column(name))])

    def number(self, text: str, row: int, column: str) -> float:
        """Raises :class:`InputError` for what is no finite number, naming its place."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.path}: row {row + 1}, column '{column}': '{text}' is no finite number")
        return value


def read_table(path: Path) -> Table:
    """Raises :class:`InputError` for what is missing, empty, ragged, not UTF-8, or has a column name twice."""
    csv.field_size_limit(2**31 - 1)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path}: not a csv file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise InputError(f"{path}: no rows; give a csv file with a header and rows below it")
    repeated = sorted({name for name in header if header.count(name) > 1}) if len(set(header)) < len(header) else []
    if repeated:
        raise InputError(f"{path}: column '{repeated[0]}' stands twice in the header; rename one")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(f"{path}: row {number} has {len(row)} fields, the header has {len(header)}")
    return Table(path, header, rows)


def neuron_shape(wanted: tuple[int, int] | None, count: int, where: Path | str) -> tuple[int, int]:
    """(L, F) of ``count`` neurons that stand flat in a file: as said, or the published one where it fits.

    Raises :class:`InputError`.
    """
    if wanted is None:
        if count != PUBLISHED_SHAPE[0] * PUBLISHED_SHAPE[1]:
            raise InputError(f"{where}: {count} neurons; say their layers and width with --shape LxF, such as 6x1536")
        return PUBLISHED_SHAPE
    layers, width = wanted
    if layers * width != count:
        raise InputError(f"--shape {layers}x{width}: {layers * width} neurons, {where} has {count}")
    return layers, width
