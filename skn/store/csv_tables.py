"""CSV files of numbers: one header line, every problem with its row and column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skn.errors import InputError
from skn.store.delimited import read_delimited

# What the original's activations and ranks are of: roberta-base.
PUBLISHED_SHAPE = (12, 3072)


@dataclass(frozen=True)
class Table:
    """A header and rows of as many texts; ``lines`` are the numbers of the lines where the rows begin."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

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
            raise InputError(f"{self.path}: line {self.lines[row]}, column '{column}': '{text}' is no finite number")
        return value


def read_table(path: Path) -> Table:
    """Raises :class:`InputError` for what is missing, empty, ragged, not UTF-8, or has a column name twice."""
    found = read_delimited(path, ",", hint="take the quote away, or end it")
    if not found.rows:
        raise InputError(f"{path}: no rows; give a csv file with a header and rows below it")
    return Table(path, found.header, found.rows, found.lines)


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
