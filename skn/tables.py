"""A small table of results: values as they are, and how each column is written."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of plain values (text, numbers, None) under named columns.

    ``formats`` says how the numbers of a column are written, ".4f"; other values are written as they are. A notebook
    shows the table, :meth:`to_pandas` and :meth:`records` give its values.

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
    formats: Mapping[str, str] = field(default_factory=dict)

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

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with the values; needs pandas, which skn does not install."""
        import pandas

        return pandas.DataFrame(self.records(), columns=list(self.columns))

    def _cell(self, column: str, value: Any) -> str:
        if value is None:
            return MISSING
        return format(value, self.formats[column]) if column in self.formats and _is_number(value) else str(value)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.written())
        return f"<table><caption>{html.escape(self.title)}</caption><tr>{head}</tr>{body}</table>"

    def __str__(self) -> str:
        rows = [list(self.columns), *self.written()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, *lines])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
