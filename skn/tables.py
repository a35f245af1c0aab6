"""A small table of results: the values, and how to write each column."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skn.texts import shown

MISSING = "–"

# How to write a column's values: a format specification, ".4f", or a function of the value.
Format = str | Callable[[Any], str]


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of plain values (text, numbers, None) under named columns.

    ``formats`` says how to write the values of a column, ".4f"; texts are written as they are. A notebook shows the
    table, :meth:`to_pandas` and :meth:`records` give its values.

    Example::

        >>> table = Table("Speed", ["model", "rate"], [["full", 12.3456], ["pruned", None]], {"rate": ".1f"})
        >>> table.written()
        [['full', '12.3'], ['pruned', '–']]
        >>> table.records()[0]
        {'model': 'full', 'rate': 12.3456}
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    formats: Mapping[str, Format] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records())

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def written(self) -> list[list[str]]:
        """The cells as text."""
        return [[self._cell(name, value) for name, value in zip(self.columns, row, strict=True)] for row in self.rows]

    def plain(self) -> dict[str, Any]:
        """Return title, columns and rows as JSON can hold them: NaN and infinity become null, paths become texts."""
        rows = [[_plain(value) for value in row] for row in self.rows]
        return {"title": self.title, "columns": list(self.columns), "rows": rows}

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with the values; needs pandas, which skn does not install."""
        import pandas

        return pandas.DataFrame(self.records(), columns=list(self.columns))

    def _cell(self, column: str, value: Any) -> str:
        how = self.formats.get(column)
        if value is None:
            return MISSING
        if how is None or isinstance(value, str):
            return shown(str(value))
        return how(value) if callable(how) else format(value, how)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.written())
        return f"<table><caption>{html.escape(self.title)}</caption><tr>{head}</tr>{body}</table>"

    def __str__(self) -> str:
        rows = [[shown(name) for name in self.columns], *self.written()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([shown(self.title), *lines])

    __repr__ = __str__


def span(ends: Sequence[float]) -> str:
    """Write an interval: "0.7012 – 0.7290"."""
    low, high = ends
    return f"{low:.4f} – {high:.4f}"


def listed(values: Sequence[Any]) -> str:
    """Write the parts of one value: (3, 12) is "3,12"."""
    return ",".join(map(str, values))


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # numpy's numbers
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
