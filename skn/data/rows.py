"""Rows of a file or a data set: columns of Python values without declared types, and the place of each row in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skn.errors import InputError
from skn.store.delimited import header_that_is_missing


@dataclass(frozen=True)
class Rows:
    """The columns of one split, and their origin for messages.

    ``lines`` holds for each row of a text file the number of its first line, counted from 1; None if the source has no
    lines. ``has_header`` says that the first line of a text file holds the column names. ``blank`` counts the blank
    lines, which are left out. ``shards`` are the rows of the single files that make up the split.
    """

    columns: dict[str, list[Any]]
    origin: str
    lines: list[int] | None = None
    has_header: bool = False
    blank: int = 0
    shards: tuple[Rows, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def places(self, rows: Sequence[int]) -> str:
        """Name rows, counted from 0, in a message: "line 7, 9" of a text file, "row 7, 9" of a source without lines."""
        named = ", ".join(map(self._place, rows[:5])) + (", …" if len(rows) > 5 else "")
        return f"{'row' if (self.shards or (self,))[0].lines is None else 'line'} {named}"

    def _place(self, row: int) -> str:
        for shard in self.shards:
            if row < len(shard):
                return f"{shard._place(row)} of {Path(shard.origin).name}"
            row -= len(shard)
        return str(row + 1 if self.lines is None else self.lines[row])

    def column(self, name: str, option: str) -> list[Any]:
        """Return a column. Raises :class:`InputError` if the column does not exist."""
        if name not in self.columns:
            has = f"{self.origin}: no column '{name}' (it has {', '.join(self.columns)}); see {option}"
            raise InputError(
                has + (header_that_is_missing([*self.columns], self.columns.values()) if self.has_header else "")
            )
        return self.columns[name]


def concatenated(parts: Sequence[Rows], origin: str) -> Rows:
    """Join the rows of several files. Raises :class:`InputError` if their columns differ."""
    first = parts[0]
    for part in parts[1:]:
        if part.columns.keys() != first.columns.keys():
            raise InputError(
                f"{part.origin}: has columns {', '.join(part.columns)}, {first.origin} has {', '.join(first.columns)}"
            )
    columns = {name: [cell for part in parts for cell in part.columns[name]] for name in first.columns}
    return Rows(columns, origin, blank=sum(part.blank for part in parts), shards=tuple(parts))
