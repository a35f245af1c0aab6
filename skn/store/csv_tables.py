"""CSV files of numbers with one header line: read them, with the line and column of every problem, and write them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skn.errors import InputError
from skn.store.delimited import read_delimited
from skn.texts import shown

# Excel, LibreOffice and Google Sheets compute a text with such a beginning. Apostrophes at the beginning are of texts
# that were escaped before.
_FORMULA = re.compile(r"'*[=+\-@\t]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")

# The layers and width of roberta-base, which the original's activations and ranks belong to.
PUBLISHED_SHAPE = (12, 3072)


@dataclass(frozen=True)
class Table:
    """A header and rows with as many texts. ``lines`` holds for each row the number of the line in which it begins."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        index = self.header.index(name)
        return [row[index] for row in self.rows]

    def numbers(self, name: str, missing: str | None = None) -> np.ndarray:
        """Return a column as float64 [rows].

        The text ``missing`` is NaN. Raises :class:`InputError` for any other text.
        """
        return np.array([np.nan if t == missing else self.number(t, i, name) for i, t in enumerate(self.column(name))])

    def number(self, text: str, row: int, column: str) -> float:
        """Return the number in a text.

        Raises :class:`InputError`, which names the line, if the text is no finite number.
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.path}: line {self.lines[row]}, column '{column}': '{text}' is no finite number")
        return value


def read_table(path: Path) -> Table:
    """Read a table.

    Raises :class:`InputError` if it is missing, empty, ragged or not UTF-8, or repeats a column name.
    """
    found = read_delimited(path, ",", hint="take the quote away, or end it")
    if not found.rows:
        raise InputError(f"{path}: no rows; give a csv file with a header and rows below it")
    rows = [[plain_cell(cell) for cell in row] for row in found.rows]
    return Table(path, [plain_cell(name) for name in found.header], rows, found.lines)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write rows as csv. A text that a spreadsheet would take for a formula gets an apostrophe before it.

    :func:`plain_cell` takes the apostrophe away again. Control characters are escaped for good, because programs differ
    in how they read a csv file with control characters.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in row] for row in (header, *rows))
    return text.getvalue()


def is_of_predictions(file: Path) -> bool:
    """Whether a csv file has the header of predictions.

    The user chooses the name of such a file, so the name proves nothing.
    """
    try:
        with open(file, encoding="utf-8", newline="") as lines:
            header = next(csv.reader(lines), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return header[:2] == ["row", "text"] and "predicted" in {name.rpartition(": ")[2] for name in header[2:]}


def plain_cell(cell: str) -> str:
    """Return the text of a cell as it was before :func:`csv_text` wrote it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _harmless(cell: object) -> object:
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    return shown("'" + cell if _FORMULA.match(cell) else cell)


def neuron_shape(wanted: tuple[int, int] | None, count: int, where: Path | str) -> tuple[int, int]:
    """Return (L, F) of ``count`` neurons that a file lists without layers: as the user says, or the published shape if
    it fits.

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
