"""The texts of rows: the meaning of a cell in a column of texts, and the treatment of rows without a text.

A text means the same however a file stores it. A missing value, an empty text and white space alone are no text,
because a csv file cannot tell them apart. Without a text, a model would answer for its prompt alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skn.data.rows import Rows
from skn.data.spec import DataSpec
from skn.data.tasks import Task
from skn.errors import InputError

DROP = "--drop-unlabelled leaves them out"
TAKE_OUT = "give each a text, or take them out of the file"


@dataclass(frozen=True)
class RowTexts:
    """The text of every row and, for a task on pairs, its second text.

    ``without`` lists the rows that lack one of them.
    """

    rows: Rows
    text: list[str]
    pair: list[str] | None
    without: list[int]
    columns: str

    @classmethod
    def of(cls, rows: Rows, spec: DataSpec, task: Task | None) -> RowTexts:
        """Read the texts of rows.

        Raises :class:`InputError` for a missing column, and for a cell that holds no text value.
        """
        column, pair = spec.text_column or (task.text if task else "text"), spec.pair_column or (task and task.pair)
        found = [_texts(rows, column, "--text-column")]
        if pair:
            found.append(_texts(rows, pair, "--pair-column"))
        without = [row for row, texts in enumerate(zip(*found, strict=True)) if not all(map(str.strip, texts))]
        named = f"column{'s' if pair else ''} " + " and ".join(f"'{name}'" for name in (column, pair) if name)
        return cls(rows, found[0], found[1] if pair else None, without, named)

    def refuse_missing(self, way_out: str = DROP) -> None:
        """Raises :class:`InputError` for rows without a text. ``way_out`` tells the user what to do."""
        if self.without:
            where = f"{self.rows.places(self.without)}; {self.columns}"
            raise InputError(f"{self.rows.origin}: {len(self.without)} rows without a text ({where}); {way_out}")

    def note_missing(self, note: Callable[..., None]) -> None:
        """Note how many rows without a text are left out."""
        if self.without:
            note("%s: %d rows without a text left out", self.rows.origin, len(self.without))

    def take(self, kept: list[int]) -> tuple[list[str], list[str] | None]:
        """Return the texts and the second texts of the ``kept`` rows."""
        return [self.text[row] for row in kept], self.pair and [self.pair[row] for row in kept]


def _texts(rows: Rows, column: str, option: str) -> list[str]:
    """Return the cells of a column, with "" for a missing value."""
    return [_text(cell, rows, row, column, option) for row, cell in enumerate(rows.column(column, option))]


def _text(cell: Any, rows: Rows, row: int, column: str, option: str) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    kind = type(cell).__name__
    raise InputError(
        f"{rows.origin}: {rows.places([row])}: column '{column}' holds {kind}, expected text; see {option}"
    )
